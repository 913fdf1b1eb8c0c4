package io.pgveil.reader;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** A whole cluster of a real pg_tde server, decrypted and compared with what the server said. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class FixtureTest {
  private final Optional<Path> archives = FixtureTruth.find();
  private FixtureTruth fixture;

  @BeforeAll
  void unpack(@TempDir Path directory) throws IOException {
    if (archives.isPresent() && hasZstd()) {
      fixture = FixtureTruth.unpack(archives.get(), directory);
    }
  }

  /** Before each test, so that each is reported as skipped. */
  @BeforeEach
  void skipWithoutFixture() {
    assumeTrue(
        archives.isPresent(),
        "no fixture fx-aes128: neither system property pgveil.fixtures nor shared/fixtures above");
    assumeTrue(hasZstd(), "no program zstd to unpack the fixture");
  }

  private static boolean hasZstd() {
    return Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
        .anyMatch(dir -> Files.isExecutable(Path.of(dir, "zstd")));
  }

  private List<RelationKeyFile> relationKeyFiles() throws IOException {
    try (Stream<Path> files = Files.list(fixture.keyDirectory())) {
      List<Path> paths =
          files.filter(path -> path.getFileName().toString().matches("-?[0-9]+_keys")).toList();
      return paths.stream().map(FixtureTest::relationKeyFile).toList();
    }
  }

  private static RelationKeyFile relationKeyFile(Path path) {
    try {
      return RelationKeyFile.read(path);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<WalRange> walRanges() throws IOException {
    WalKeyFile keys = WalKeyFile.read(fixture.keyDirectory().resolve("wal_keys"));
    SignedKeyInfo info = keys.keyInfo();
    assertThat(info).isNotNull();
    Secret key = fixture.principalKey(info);
    assertThat(info.isSignedBy(key)).isTrue();
    return keys.ranges(key);
  }

  @Test
  void everySignatureAndEveryEntry() throws IOException {
    int signatures = 0;
    int keys = 0;
    int empty = 0;
    for (RelationKeyFile file : relationKeyFiles()) {
      assertThat(file.version()).isEqualTo(4);
      assertThat(file.trailing()).isZero();
      SignedKeyInfo info = file.keyInfo();
      assertThat(info).isNotNull();
      Secret principalKey = fixture.principalKey(info);
      assertThat(info.isSignedBy(principalKey)).as(file.file()).isTrue();
      signatures++;
      for (RelationKeyFile.Entry entry : file.entries()) {
        if (entry.isKey()) {
          assertThat(entry.unwrap(principalKey).size()).isEqualTo(16);
          keys++;
        } else {
          empty++;
        }
      }
    }
    List<WalRange> ranges = walRanges();
    System.out.printf(
        "fixture: %d signatures, %d relation keys, %d empty entries, %d WAL ranges%n",
        signatures + 1, keys, empty, ranges.size());
    assertThat(signatures).isEqualTo(4);
    assertThat(keys).isPositive();
    assertThat(ranges).hasSize(4);
    KeysVersion.read(fixture.keyDirectory().resolve("keys_version"));
  }

  /** Every file of every relation that has a key; that no key is left over is tested below. */
  @Test
  void everyPage() throws IOException {
    int files = 0;
    int encrypted = 0;
    int raw = 0;
    int checksums = 0;
    int truths = 0;
    for (FixtureTruth.Relation relation : fixture.relations()) {
      RelationFile main = RelationFile.parse(relation.path()).orElseThrow();
      RelationKeyFile keyFile =
          RelationKeyFile.read(fixture.keyDirectory().resolve(main.database() + "_keys"));
      Optional<RelationKeyFile.Entry> entry = keyFile.find(main.tablespace(), main.relation());
      assertThat(entry.isPresent()).as(relation.name()).isEqualTo(relation.encrypted());
      if (entry.isEmpty()) {
        continue;
      }
      SignedKeyInfo info = keyFile.keyInfo();
      assertThat(info).isNotNull();
      Secret key = entry.get().unwrap(fixture.principalKey(info));
      for (FixtureTruth.ForkFile file : relation.files()) {
        byte[] stored = Files.readAllBytes(file.stored());
        Pages.Decrypted decrypted =
            Pages.decrypt(
                file.what().path(),
                stored,
                key,
                entry.get().baseIv(),
                file.what().fork(),
                file.what().segment(),
                ReadAs.PG_TDE);
        FixtureTruth.PageTruth truth = file.truth();
        assertThat(truth == null).as(file.what().path()).isEqualTo(stored.length == 0);
        if (truth != null) {
          byte[] clear = decrypted.clear().toArray();
          assertThat(clear).as(file.what().path()).isEqualTo(Files.readAllBytes(truth.clear()));
          assertThat(sha256(clear)).isEqualTo(truth.sha256());
          assertThat(clear).hasSize(truth.blocks() * Pages.SIZE);
          PageChecksum.Checked checked =
              PageChecksum.check(file.what().path(), clear, file.what().segment());
          checksums += checked.right();
          assertThat(checked.fresh()).isEqualTo(decrypted.raw());
          truths++;
        }
        files++;
        encrypted += decrypted.encrypted();
        raw += decrypted.raw();
      }
    }
    System.out.printf(
        "fixture: %d files, %d encrypted pages, %d zero pages, %d checksums right%n",
        files, encrypted, raw, checksums);
    assertThat(encrypted).isPositive();
    assertThat(checksums).isEqualTo(encrypted);
    try (Stream<Path> pages = Files.list(fixture.truth().resolve("pages-plain"))) {
      assertThat(truths).isEqualTo((int) pages.count());
    }
  }

  /** Every relation file without a key is clear; no key is without a relation of the truth. */
  @Test
  void everyOtherRelationIsClear() throws IOException {
    List<RelationKeyFile> keyFiles = relationKeyFiles();
    int checksums = 0;
    try (Stream<Path> tree = Files.walk(fixture.data())) {
      for (Path path : tree.filter(Files::isRegularFile).toList()) {
        Optional<RelationFile> what =
            RelationFile.parse(fixture.data().relativize(path).toString());
        if (what.isPresent() && !hasKey(keyFiles, what.get())) {
          byte[] content = Files.readAllBytes(path);
          checksums += PageChecksum.check(path.toString(), content, what.get().segment()).right();
        }
      }
    }
    System.out.printf("fixture: %d checksums of clear pages right%n", checksums);
    assertThat(checksums).isPositive();
    long encryptedRelations =
        fixture.relations().stream().filter(FixtureTruth.Relation::encrypted).count();
    assertThat(keyFiles.stream().mapToInt(file -> file.keys().size()).sum())
        .isEqualTo((int) encryptedRelations);
  }

  private static boolean hasKey(List<RelationKeyFile> keyFiles, RelationFile what) {
    return keyFiles.stream()
        .filter(file -> file.databaseId() == what.database())
        .anyMatch(file -> file.find(what.tablespace(), what.relation()).isPresent());
  }

  @Test
  void everyWalSegment() throws IOException {
    List<WalRange> ranges = walRanges();
    int encryptedSegments = 0;
    int pages = 0;
    int rawWords = 0;
    for (FixtureTruth.WalFile wal : fixture.walFiles()) {
      byte[] stored = Files.readAllBytes(wal.stored());
      byte[] truth = Files.readAllBytes(wal.clear());
      assertThat(sha256(stored)).isEqualTo(wal.storedSha256());
      assertThat(sha256(truth)).isEqualTo(wal.clearSha256());
      byte[] clear = WalStream.decrypt(wal.what(), stored, ranges, ReadAs.PG_TDE);
      assertThat(clear).as(wal.what().name()).isEqualTo(truth);
      encryptedSegments += MessageDigest.isEqual(clear, stored) ? 0 : 1;
      int written = WalPages.read(wal.what(), clear).size();
      if (!wal.equals(fixture.walFiles().getLast())) {
        assertThat(written).isEqualTo(fixture.walSegmentSize() / WalPages.SIZE);
      }
      pages += written;
      rawWords += differingWords(stored, clear, wal, ranges);
    }
    System.out.printf(
        "fixture: %d WAL segments, %d encrypted; %d WAL pages right; %d raw words of an unwritten"
            + " tail%n",
        fixture.walFiles().size(), encryptedSegments, pages, rawWords);
    assertThat(fixture.walFiles()).hasSize(8);
    assertThat(encryptedSegments).isEqualTo(5);
    assertThat(pages).isPositive();
  }

  /** Read as pgveil, a segment differs only where it holds words of zeros: those are clear. */
  private static int differingWords(
      byte[] stored, byte[] clear, FixtureTruth.WalFile wal, List<WalRange> ranges) {
    byte[] asPgveil = WalStream.decrypt(wal.what(), stored, ranges, ReadAs.PGVEIL);
    int words = 0;
    for (int at = 0; at < clear.length; at += 8) {
      byte[] word = Golden.slice(asPgveil, at, 8);
      if (!MessageDigest.isEqual(word, Golden.slice(clear, at, 8))) {
        assertThat(Golden.slice(stored, at, 8)).isEqualTo(new byte[8]);
        assertThat(word).isEqualTo(new byte[8]);
        words++;
      }
    }
    return words;
  }

  private static String sha256(byte[] content) {
    try {
      return Bytes.of(MessageDigest.getInstance("SHA-256").digest(content)).toString();
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
