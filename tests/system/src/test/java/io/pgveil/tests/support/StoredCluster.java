package io.pgveil.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.reader.Bytes;
import io.pgveil.reader.Keyring;
import io.pgveil.reader.KeysVersion;
import io.pgveil.reader.PageChecksum;
import io.pgveil.reader.Pages;
import io.pgveil.reader.ProviderFile;
import io.pgveil.reader.ReadAs;
import io.pgveil.reader.RelationFile;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.SealFile;
import io.pgveil.reader.SealedFile;
import io.pgveil.reader.Secret;
import io.pgveil.reader.SignedKeyInfo;
import io.pgveil.reader.WalKeyFile;
import io.pgveil.reader.WalPages;
import io.pgveil.reader.WalRange;
import io.pgveil.reader.WalSegmentName;
import io.pgveil.reader.WalStream;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A cipher directory, read with {@code io.pgveil.reader} alone: no code of the program takes part.
 * The key files can be read at any time; the whole only of a cluster that was shut down.
 */
public final class StoredCluster {
  /** All forks and segments of one relfilenode: what has one internal key. */
  public record RelationId(long database, long tablespace, long relation) {
    public static RelationId of(RelationFile file) {
      return new RelationId(file.database(), file.tablespace(), file.relation());
    }
  }

  /**
   * What was read and found right.
   *
   * @param relationFiles files of relations that hold something
   * @param encryptedPages their pages, each with the right checksum
   * @param zeroPages pages that are zeros, in the clear and on disk
   * @param completeSegments WAL segments in which every page has a right header
   * @param walPages pages with a right header in all segments
   * @param rawWords aligned 8-byte words of zeros in encrypted WAL, which stand as zeros: the only
   *     bytes that pg_tde reads otherwise than pgveil
   * @param rawWordsInPages those of them that lie in pages with a header, in complete segments
   * @param sealedFiles sealed files that hold something
   */
  public record Contents(
      int relationFiles,
      int encryptedPages,
      int zeroPages,
      int completeSegments,
      int walPages,
      int rawWords,
      int rawWordsInPages,
      int sealedFiles) {}

  private static final String KEY_FILE = "-?[0-9]+_keys";
  private static final int WORD = 8;
  private static final VarHandle WORDS =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private final Path cipher;
  private final Path keys;

  StoredCluster(Path cipher) {
    this.cipher = cipher;
    this.keys = cipher.resolve("pg_tde");
  }

  // ---- key files ----

  /** The key file of a database, 0 for shared relations. */
  public RelationKeyFile relationKeys(long database) throws IOException {
    return RelationKeyFile.read(relationKeyPath(database));
  }

  public Path relationKeyPath(long database) {
    return keys.resolve(database + "_keys");
  }

  /** All relation key files, by database OID, without that of the default key. */
  public SortedMap<Long, RelationKeyFile> relationKeys() throws IOException {
    SortedMap<Long, RelationKeyFile> files = new TreeMap<>();
    for (String name : names()) {
      if (name.matches(KEY_FILE) && !name.equals("1663_keys")) {
        RelationKeyFile file = RelationKeyFile.read(keys.resolve(name));
        files.put(file.databaseId(), file);
      }
    }
    return files;
  }

  /** Names in the key directory. */
  public List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(keys)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  public RelationKeyFile defaultKey() throws IOException {
    return relationKeys(1663);
  }

  public WalKeyFile walKeys() throws IOException {
    return WalKeyFile.read(keys.resolve("wal_keys"));
  }

  public SealFile seal() throws IOException {
    return SealFile.read(keys.resolve("pgveil.seal"));
  }

  public ProviderFile providers() throws IOException {
    return ProviderFile.read(keys.resolve("1664_providers"));
  }

  public KeysVersion version() throws IOException {
    return KeysVersion.read(keys.resolve("keys_version"));
  }

  /** The internal key of a relation, if it has one. */
  public Optional<Secret> internalKey(RelationId relation) throws IOException {
    RelationKeyFile file = relationKeys(relation.database());
    Optional<RelationKeyFile.Entry> entry = file.find(relation.tablespace(), relation.relation());
    return entry.isEmpty()
        ? Optional.empty()
        : Optional.of(entry.get().unwrap(principalKey(info(file))));
  }

  public static SignedKeyInfo info(RelationKeyFile file) {
    SignedKeyInfo info = file.keyInfo();
    assertThat(info).as("principal key of %s", file.file()).isNotNull();
    return info;
  }

  public static SignedKeyInfo info(WalKeyFile file) {
    SignedKeyInfo info = file.keyInfo();
    assertThat(info).as("principal key of %s", file.file()).isNotNull();
    return info;
  }

  /** From the keyring that the provider names; the signature must be that key's. */
  public Secret principalKey(SignedKeyInfo info) throws IOException {
    ProviderFile.Provider provider = providers().find(info.keyringId()).orElseThrow();
    assertThat(provider.type()).isEqualTo(ProviderFile.Type.FILE);
    Path keyring = Path.of(provider.options().getOrDefault("path", ""));
    Secret key = Keyring.read(keyring).find(info.name()).orElseThrow();
    assertThat(info.isSignedBy(key)).as(info.name()).isTrue();
    return key;
  }

  // ---- everything ----

  /**
   * Reads every byte of a cluster that was shut down: every key unwraps, every file of a relation
   * has its key and every key its file, every page its checksum, every WAL page its header, every
   * sealed file opens; and each file's clear content is what the mount has shown.
   *
   * @param shown SHA-256 of the clear files, by their paths
   */
  public Contents check(SortedMap<String, String> shown) throws IOException {
    return new Check(shown).run();
  }

  private final class Check {
    private final SortedMap<String, String> shown;
    private final SortedMap<String, String> read = new TreeMap<>();
    private final Map<RelationId, RelationKeyFile.Entry> entries = new HashMap<>();
    private final Map<RelationId, Secret> internalKeys = new HashMap<>();
    private final Set<RelationId> relations = new HashSet<>();
    private final Map<Bytes, Secret> sealKeys;
    private final List<WalRange> ranges;
    private int relationFiles;
    private int encryptedPages;
    private int zeroPages;
    private int completeSegments;
    private int walPages;
    private int rawWords;
    private int rawWordsInPages;
    private int sealedFiles;

    Check(SortedMap<String, String> shown) throws IOException {
      this.shown = shown;
      version();
      for (String name : names()) {
        assertThat(name)
            .matches(KEY_FILE + "|wal_keys|-?[0-9]+_providers|keys_version|pgveil\\.(seal|lock)");
      }
      SealFile seal = seal();
      Secret serverKey = principalKey(seal.keyInfo());
      assertThat(seal.isWholeUnder(serverKey)).isTrue();
      sealKeys = seal.unwrapAll(serverKey);
      WalKeyFile wal = walKeys();
      ranges = wal.ranges(principalKey(info(wal)));
      for (RelationKeyFile file : relationKeys().values()) {
        assertThat(file.trailing()).as(file.file()).isZero();
        for (RelationKeyFile.Entry entry : file.keys()) {
          RelationId id = new RelationId(file.databaseId(), entry.tablespace(), entry.relation());
          assertThat(entries.put(id, entry)).as("a second key of %s", id).isNull();
          internalKeys.put(id, entry.unwrap(principalKey(info(file))));
        }
      }
    }

    Contents run() throws IOException {
      List<Path> walFiles = new ArrayList<>();
      try (Stream<Path> tree = Files.walk(cipher)) {
        for (Path file : tree.filter(this::isContent).toList()) {
          String path = cipher.relativize(file).toString();
          assertThat(Files.isRegularFile(file)).as("%s is a file", path).isTrue();
          assertThat(path).as("of a stopped server").doesNotContain("pgsql_tmp/", "xlogtemp");
          Optional<RelationFile> relation = RelationFile.parse(path);
          if (relation.isPresent()) {
            relation(relation.get(), Files.readAllBytes(file));
          } else if (path.matches("pg_wal/[0-9A-F]{24}(\\.partial)?")) {
            walFiles.add(file);
          } else {
            SealedFile sealed = SealedFile.read(file, sealKeys);
            sealedFiles += sealed.header().isPresent() ? 1 : 0;
            put(path, sealed.clear().toArray());
          }
        }
      }
      assertThat(relations).as("relations with a key, and files").containsAll(entries.keySet());
      wal(walFiles);
      assertThat(read).as("clear content").isEqualTo(shown);
      return new Contents(
          relationFiles,
          encryptedPages,
          zeroPages,
          completeSegments,
          walPages,
          rawWords,
          rawWordsInPages,
          sealedFiles);
    }

    private boolean isContent(Path file) {
      return !Files.isDirectory(file) && !file.startsWith(keys);
    }

    private void put(String path, byte[] clear) {
      read.put(path, HexFormat.of().formatHex(TestCluster.sha256().digest(clear)));
    }

    private void relation(RelationFile file, byte[] stored) {
      RelationId id = RelationId.of(file);
      relations.add(id);
      RelationKeyFile.Entry entry = entries.get(id);
      if (entry == null) {
        assertThat(Bytes.of(stored).isZero()).as("%s without a key", file.path()).isTrue();
        put(file.path(), stored);
        return;
      }
      Pages.Decrypted decrypted =
          Pages.decrypt(
              file.path(),
              stored,
              internalKeys.get(id),
              entry.baseIv(),
              file.fork(),
              file.segment(),
              ReadAs.PGVEIL);
      byte[] clear = decrypted.clear().toArray();
      PageChecksum.Checked checked = PageChecksum.check(file.path(), clear, file.segment());
      assertThat(checked.fresh())
          .as("pages of %s that are zero", file.path())
          .isEqualTo(decrypted.raw());
      assertThat(checked.right()).isEqualTo(decrypted.encrypted());
      relationFiles += stored.length == 0 ? 0 : 1;
      encryptedPages += decrypted.encrypted();
      zeroPages += decrypted.raw();
      put(file.path(), clear);
    }

    private void wal(List<Path> files) throws IOException {
      int segmentSize =
          (int) files.stream().mapToLong(file -> file.toFile().length()).max().orElseThrow();
      List<WalSegmentName> segments =
          files.stream()
              .map(
                  file ->
                      WalSegmentName.parse(file.getFileName().toString(), segmentSize)
                          .orElseThrow())
              .toList();
      ByteBuffer control =
          ByteBuffer.wrap(
                  SealedFile.read(cipher.resolve("global/pg_control"), sealKeys).clear().toArray())
              .order(ByteOrder.LITTLE_ENDIAN);
      // ControlFileData: checkPoint, the LSN of the last checkpoint record, is at 32 in 14 to 18
      long lastSegment = control.getLong(32) / segmentSize;
      int lastPage = (int) (control.getLong(32) % segmentSize) / WalPages.SIZE;
      for (int i = 0; i < files.size(); i++) {
        WalSegmentName segment = segments.get(i);
        byte[] stored = Files.readAllBytes(files.get(i));
        byte[] clear = WalStream.decrypt(segment, stored, ranges, ReadAs.PGVEIL);
        put("pg_wal/" + segment.name(), clear);
        boolean left =
            segments.stream()
                .anyMatch(
                    other ->
                        other.segment() == segment.segment()
                            && other.timeline() > segment.timeline());
        int headers = 0;
        if (!left && segment.segment() < lastSegment) {
          headers = completeHeaders(segment, clear);
          completeSegments++;
        } else if (!left && segment.segment() == lastSegment) {
          headers = WalPages.read(segment, clear).size();
          assertThat(headers).as("pages of the last segment").isGreaterThan(lastPage);
        }
        walPages += headers;
        byte[] asPgTde = WalStream.decrypt(segment, stored, ranges, ReadAs.PG_TDE);
        for (int at = 0; at < clear.length; at += WORD) {
          if (word(clear, at) != word(asPgTde, at)) {
            // noise to pg_tde, zeros to us
            assertThat(word(stored, at)).isZero();
            assertThat(word(clear, at)).isZero();
            rawWords++;
            if (segment.segment() < lastSegment && at / WalPages.SIZE < headers) {
              rawWordsInPages++;
            }
          }
        }
      }
    }

    /** Every page has a right header; but behind a segment switch all is zero. */
    private int completeHeaders(WalSegmentName segment, byte[] clear) {
      int at = 0;
      while (at < clear.length && !isZero(clear, at, clear.length)) {
        WalPages.header(segment, clear, at);
        at += WalPages.SIZE;
      }
      return at / WalPages.SIZE;
    }

    private static boolean isZero(byte[] data, int from, int to) {
      for (int i = from; i < to; i++) {
        if (data[i] != 0) {
          return false;
        }
      }
      return true;
    }

    private static long word(byte[] data, int at) {
      return (long) WORDS.get(data, at);
    }
  }
}
