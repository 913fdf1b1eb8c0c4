package io.pgveil.datadir.check;

import io.pgveil.ciphers.PageCipher;
import io.pgveil.ciphers.SealedHeader;
import io.pgveil.ciphers.SealedLayout;
import io.pgveil.datadir.DataDirectory;
import io.pgveil.datadir.FileKind;
import io.pgveil.datadir.Place;
import io.pgveil.datadir.RelationFile;
import io.pgveil.datadir.WalFileName;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.KeyFileSummary;
import io.pgveil.keys.ProviderRecord;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SealKeys;
import io.pgveil.keys.WalRange;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Says what a file of a cipher directory is, under which key it lies and what its headers say: for
 * the auditor who asks which key protects which file. Keys, wrapped or not, are never part of the
 * answer.
 *
 * <p>Where a key cannot be had, or no key directory was given, the fields that it would open are
 * replaced by the reason.
 */
public final class Inspector {
  /** Name of the field that tells one internal key from another; no secret. */
  public static final String BASE_IV = "base IV";

  /** Fields of one subject, in order. */
  public record Group(String title, List<Field> fields) {
    public Group {
      fields = List.copyOf(fields);
    }
  }

  /** One field. */
  public record Field(String name, String value) {}

  private static final String NO_KEYS = "not decrypted: ";

  // a keyring: pg_tde format 4.1
  private static final int KEYRING_RECORD = 292;
  private static final int KEYRING_LENGTH_AT = 288;
  private static final int KEYRING_NAME = 256;

  private final Path cipherDirectory;
  private final List<DataDirectory.Tablespace> tablespaces;
  private final @Nullable KeyDirectory keys;

  /**
   * @param keys opened for reading only; null to do without
   */
  public Inspector(
      Path cipherDirectory,
      List<DataDirectory.Tablespace> tablespaces,
      @Nullable KeyDirectory keys) {
    this.cipherDirectory = cipherDirectory.toAbsolutePath().normalize();
    this.tablespaces = List.copyOf(tablespaces);
    this.keys = keys;
  }

  /** The nearest directory above {@code file} that holds {@code pg_tde}; null if there is none. */
  public static @Nullable Path cipherDirectoryOf(Path file) {
    Path p = file.toAbsolutePath().normalize().getParent();
    while (p != null && !Files.isDirectory(p.resolve(DataDirectory.KEY_DIRECTORY))) {
      p = p.getParent();
    }
    return p;
  }

  /**
   * Describes a file.
   *
   * @param block number of the page within the file to look at, from 0; of relations and WAL
   * @throws IOException it cannot be read
   */
  public List<Group> inspect(Path file, int block) throws IOException {
    Path path = file.toAbsolutePath().normalize();
    Path relative = relative(path);
    if (!Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
      throw new IOException(path + " is no regular file");
    }
    try (FileChannel in = Bytes.open(path)) {
      if (relative == null) {
        return outside(path, in);
      }
      Place place = Place.DATA_DIRECTORY;
      for (int i = 0; i < relative.getNameCount() - 1; i++) {
        place = place.directory(relative.getName(i).toString());
      }
      String name = relative.getFileName().toString();
      FileKind kind = place.file(name);
      Fields f = new Fields();
      f.add("path", relative);
      f.add("kind", text(kind));
      f.add("size on disk", in.size());
      List<Group> groups = new ArrayList<>();
      switch (kind) {
        case RELATION, TEMP_RELATION -> relation(place, name, in, block, f, groups);
        case WAL_SEGMENT -> wal(name, in, block, f, groups);
        case SEALED -> sealed(in, f, groups);
        case SPILL, WAL_TEMPORARY -> {
          f.add("key", "in the memory of the daemon that wrote it: unreadable after it");
          groups.add(f.group("file"));
        }
        case KEY_FILE -> {
          groups.add(f.group("file"));
          keyFile(name, Files.readAllBytes(path), groups);
        }
      }
      return groups;
    }
  }

  private static String text(FileKind kind) {
    return switch (kind) {
      case RELATION -> "relation";
      case TEMP_RELATION -> "temporary relation";
      case WAL_SEGMENT -> "WAL segment";
      case WAL_TEMPORARY -> "WAL file in the making";
      case SPILL -> "spill file";
      case SEALED -> "sealed file";
      case KEY_FILE -> "key file";
    };
  }

  /** The path as PostgreSQL sees it; null if the file is in none of our directories. */
  private @Nullable Path relative(Path path) throws IOException {
    // the directory of a keyring has no keys in pg_tde
    if (path.startsWith(cipherDirectory)
        && Files.isDirectory(cipherDirectory.resolve(DataDirectory.KEY_DIRECTORY))) {
      return cipherDirectory.relativize(path);
    }
    for (DataDirectory.Tablespace t : tablespaces) {
      Path directory = t.cipherDirectory().toAbsolutePath().normalize();
      if (path.startsWith(directory)) {
        return Path.of("pg_tblspc")
            .resolve(oidOf(t))
            .resolve(directory.relativize(path).toString());
      }
    }
    return null;
  }

  /** The name under which pg_tblspc links to a tablespace. */
  private String oidOf(DataDirectory.Tablespace t) throws IOException {
    Path links = cipherDirectory.resolve("pg_tblspc");
    try (var entries = Files.newDirectoryStream(links)) {
      for (Path link : entries) {
        if (Files.isSymbolicLink(link)) {
          Path target = links.resolve(Files.readSymbolicLink(link)).normalize();
          if (target.equals(t.mountPoint().toAbsolutePath().normalize())
              || target.equals(t.cipherDirectory().toAbsolutePath().normalize())) {
            return link.getFileName().toString();
          }
        }
      }
    }
    return "unknown";
  }

  /** Collects fields. */
  private static final class Fields {
    private final List<Field> list = new ArrayList<>();

    void add(String name, @Nullable Object value) {
      list.add(new Field(name, String.valueOf(value)));
    }

    void hex(String name, int value) {
      add(name, "%04x".formatted(value));
    }

    void unsigned(String name, int value) {
      add(name, Integer.toUnsignedString(value));
    }

    Group group(String title) {
      return new Group(title, list);
    }
  }

  // ---- keys ----

  private byte @Nullable [] keyFileContent(String name) throws IOException {
    Path p = cipherDirectory.resolve(DataDirectory.KEY_DIRECTORY).resolve(name);
    return Files.exists(p) ? Files.readAllBytes(p) : null;
  }

  private Group principalKey(KeyFileSummary.Header h) {
    Fields f = new Fields();
    f.add("name", h.keyName());
    f.add("of", new Scope(h.databaseOid()));
    f.add("provider", provider(h));
    f.add("set at", h.created());
    return f.group("principal key");
  }

  private String provider(KeyFileSummary.Header h) {
    int owner = h.providerId() < 0 ? Scope.SERVER.oid() : h.databaseOid();
    try {
      byte[] content = keyFileContent(owner + "_providers");
      if (content != null) {
        for (ProviderRecord r : ProviderRecord.readAll(owner, content)) {
          if (!r.isDeleted() && r.id() == h.providerId()) {
            return r.name() + " (id " + r.id() + ")";
          }
        }
      }
    } catch (IOException e) {
      // the id alone, then
    }
    return "id " + h.providerId() + ", which no record describes";
  }

  private static String cipher(int code) {
    CipherType type = KeyFileSummary.cipher(code);
    return type == null ? "unknown (" + code + ")" : type.toString();
  }

  private void keyFile(String name, byte[] content, List<Group> groups) {
    if (name.equals("keys_version") && content.length >= 8) {
      Fields f = new Fields();
      f.add("relation key files", "%08x".formatted(Bytes.getInt(content, 0)));
      f.add("WAL key file", "%08x".formatted(Bytes.getInt(content, 4)));
      groups.add(f.group("versions"));
      return;
    }
    if (name.endsWith("_providers")) {
      providers(content, groups);
      return;
    }
    KeyFileSummary s;
    try {
      s = KeyFileSummary.parse(name, content);
    } catch (KeyException e) {
      Fields f = new Fields();
      f.add("error", e.getMessage());
      groups.add(f.group("content"));
      return;
    }
    Fields f = new Fields();
    f.add("holds keys of", s.type());
    f.add("format version", s.version());
    f.add("entries", s.entries().size());
    f.add("bytes behind the last entry", s.trailingBytes());
    f.add("authentic", authentic(name, s));
    groups.add(f.group("header"));
    groups.add(principalKey(s.header()));
    for (KeyFileSummary.Entry e : s.entries()) {
      groups.add(entry(e));
    }
  }

  /** Whether the principal key signs the header and opens every entry. */
  private String authentic(String name, KeyFileSummary s) {
    if (keys == null) {
      return "not known: no keys at hand";
    }
    try {
      switch (s.type()) {
        case SEAL -> keys.sealKeys().activeId();
        case WAL -> {
          keys.principalKeys().load(Scope.SERVER);
          for (WalRange r : keys.walKeys().ranges()) {
            keys.walKeys().key(r);
          }
        }
        case RELATION -> {
          int oid = s.header().databaseOid();
          keys.principalKeys().load(new Scope(oid));
          if (!name.equals("1663_keys")) {
            for (var e : keys.relationKeys(oid).entries()) {
              keys.relationKeys(oid).find(e.tablespaceOid(), e.relNumber());
            }
          }
        }
      }
      return "yes";
    } catch (KeyException e) {
      return "no: " + e.getMessage();
    }
  }

  private static Group entry(KeyFileSummary.Entry entry) {
    Fields f = new Fields();
    switch (entry) {
      case KeyFileSummary.RelationEntry e -> {
        if (e.isFree()) {
          f.add("type", "free");
        } else {
          f.add("type", e.type() == 1 ? "key" : "garbled (" + e.type() + ")");
          f.unsigned("tablespace", e.tablespaceOid());
          f.unsigned("relation", e.relNumber());
          f.add("cipher", cipher(e.cipher()));
        }
      }
      case KeyFileSummary.WalEntry e -> {
        f.add(
            "type",
            switch (e.type()) {
              case 0 -> "not valid";
              case 1 -> "clear";
              case 2 -> "encrypted";
              default -> "garbled (" + e.type() + ")";
            });
        f.add("begins at", e.isRange() ? Lsn.text(e.tli(), e.startLsn()) : "nowhere");
        f.add("cipher", cipher(e.cipher()));
      }
      case KeyFileSummary.SealEntry e -> {
        f.add("id", e.id());
        f.add("state", e.active() ? "active" : "read-only");
        f.add("created", e.created());
      }
    }
    return f.group("entry " + entry.index());
  }

  private static void providers(byte[] content, List<Group> groups) {
    for (ProviderRecord r : ProviderRecord.readAll(0, content)) {
      Fields f = new Fields();
      f.add("id", r.id());
      f.add("name", r.name());
      f.add("type number", r.isDeleted() ? "0 (deleted)" : r.type());
      f.add("options", r.options());
      groups.add(f.group("provider"));
    }
    int rest = content.length % ProviderRecord.SIZE;
    if (rest != 0) {
      Fields f = new Fields();
      f.add("bytes behind the last record", rest);
      groups.add(f.group("garbled"));
    }
  }

  /** A keyring, or nothing of ours. Key bytes are not even read. */
  private static List<Group> outside(Path path, FileChannel in) throws IOException {
    Fields f = new Fields();
    f.add("path", path);
    f.add("size on disk", in.size());
    List<Group> groups = new ArrayList<>();
    boolean keyring = in.size() > 0 && in.size() % KEYRING_RECORD == 0;
    for (long at = 0; keyring && at < in.size(); at += KEYRING_RECORD) {
      byte[] name = new byte[KEYRING_NAME];
      byte[] length = new byte[4];
      Bytes.read(in, at, name, name.length);
      Bytes.read(in, at + KEYRING_LENGTH_AT, length, length.length);
      int end = 0;
      while (end < name.length && name[end] != 0) {
        end++;
      }
      int bytes = Bytes.getInt(length, 0);
      keyring = end > 0 && end < name.length && (bytes == 16 || bytes == 32);
      Fields k = new Fields();
      k.add("name", new String(name, 0, end, StandardCharsets.UTF_8));
      k.add("length", bytes + " bytes");
      groups.add(k.group("key"));
    }
    f.add("kind", keyring ? "keyring" : "none of this cipher directory's files");
    groups.addFirst(f.group("file"));
    return keyring ? groups : groups.subList(0, 1);
  }

  // ---- relations ----

  private void relation(
      Place place, String name, FileChannel in, int block, Fields f, List<Group> groups)
      throws IOException {
    RelationFile r = place.relationFile(name);
    if (r == null) {
      groups.add(f.group("file"));
      return;
    }
    f.unsigned("database", r.database());
    f.unsigned("tablespace", r.tablespace());
    f.unsigned("relation", r.relNumber());
    f.add(
        "fork",
        switch (r.fork()) {
          case 1 -> "fsm";
          case 2 -> "vm";
          case 3 -> "init";
          default -> "main";
        });
    f.unsigned("segment", r.segment());
    groups.add(f.group("file"));
    if (r.isTemporary()) {
      Fields k = new Fields();
      k.add("key", "in the memory of the daemon that wrote it: unreadable after it");
      groups.add(k.group("key"));
      return;
    }
    boolean hasKey = internalKey(r, groups);
    page(r, in, block, hasKey, groups);
  }

  /** Adds what the key file says; returns whether there is an entry, or may be one. */
  private boolean internalKey(RelationFile r, List<Group> groups) throws IOException {
    String file = r.database() + "_keys";
    Fields f = new Fields();
    f.add("key file", DataDirectory.KEY_DIRECTORY + "/" + file);
    byte[] content = keyFileContent(file);
    if (content == null || content.length == 0) {
      f.add("entry", "none: there is no key file");
      groups.add(f.group("internal key"));
      return false;
    }
    try {
      KeyFileSummary s = KeyFileSummary.parse(file, content);
      for (KeyFileSummary.Entry e : s.entries()) {
        if (e instanceof KeyFileSummary.RelationEntry k
            && !k.isFree()
            && k.tablespaceOid() == r.tablespace()
            && k.relNumber() == r.relNumber()) {
          f.add("entry", k.index());
          f.add("cipher", cipher(k.cipher()));
          f.add(BASE_IV, k.baseIv());
          groups.add(f.group("internal key"));
          groups.add(principalKey(s.header()));
          return true;
        }
      }
      f.add("entry", "none: the file is clear, or empty, or has lost its key");
      groups.add(f.group("internal key"));
      return false;
    } catch (KeyException e) {
      f.add("entry", "not known: " + e.getMessage());
      groups.add(f.group("internal key"));
      return true;
    }
  }

  private void page(
      RelationFile r, FileChannel in, int blockInFile, boolean hasKey, List<Group> groups)
      throws IOException {
    byte[] page = new byte[PageHeader.PAGE];
    int block = r.firstBlock() + blockInFile;
    Fields f = new Fields();
    f.unsigned("block", block);
    int n = Bytes.read(in, (long) blockInFile * page.length, page, page.length);
    if (n < page.length) {
      f.add("content", n == 0 ? "behind the end of the file" : "cut off after " + n + " bytes");
    } else if (Bytes.isZero(page, 0, page.length)) {
      f.add("content", "zeros");
    } else {
      String reason = hasKey ? decrypt(r, page, block) : null;
      if (reason != null) {
        f.add("content", NO_KEYS + reason);
      } else {
        header(page, block, f);
      }
    }
    groups.add(f.group("page"));
  }

  /** Decrypts in place; returns why it cannot, null if it could. */
  private @Nullable String decrypt(RelationFile r, byte[] page, int block) {
    if (keys == null) {
      return "no keys at hand";
    }
    try {
      InternalKey key = keys.relationKeys(r.database()).find(r.tablespace(), r.relNumber());
      if (key == null) {
        return "there is no internal key";
      }
      byte[] bytes = key.copyKey();
      try (PageCipher cipher = new PageCipher(bytes, key.copyBaseIv())) {
        cipher.decrypt(page, 0, r.fork(), block, page, 0);
      } finally {
        Arrays.fill(bytes, (byte) 0);
      }
      return null;
    } catch (KeyException e) {
      return e.getMessage();
    }
  }

  private static void header(byte[] page, int block, Fields f) {
    PageHeader h = PageHeader.read(page, 0);
    int computed = PageChecksum.of(page, 0, block);
    f.add("pd_lsn", Lsn.text(h.lsn()));
    f.add(
        "pd_checksum",
        "%04x (%s)"
            .formatted(
                h.checksum(),
                h.checksum() == computed ? "right" : "computed %04x".formatted(computed)));
    f.hex("pd_flags", h.flags());
    f.add("pd_lower", h.lower());
    f.add("pd_upper", h.upper());
    f.add("pd_special", h.special());
    f.add("page size", h.pageSize());
    f.add("layout version", h.version());
    f.unsigned("pd_prune_xid", h.pruneXid());
    String problem = PageHeader.problem(page, 0, block, false);
    f.add("header", problem == null ? "sane" : problem);
  }

  // ---- WAL ----

  private void wal(String name, FileChannel in, int block, Fields f, List<Group> groups)
      throws IOException {
    WalFileName w = WalFileName.parse(name);
    int size = (int) Math.min(Integer.MAX_VALUE, in.size());
    if (w == null || size < WalPageHeader.PAGE || Long.bitCount(size) != 1 || size > 1 << 30) {
      f.add("content", "its size is none of a segment");
      groups.add(f.group("file"));
      return;
    }
    long number = w.segmentNumber(size);
    long start = number * size;
    f.unsigned("timeline", w.timeline());
    f.add("begins at", Lsn.text(start));
    groups.add(f.group("file"));
    byte[] content = keyFileContent("wal_keys");
    if (content != null && content.length > 0) {
      try {
        groups.add(principalKey(KeyFileSummary.parse("wal_keys", content).header()));
      } catch (KeyException e) {
        // the ranges say so
      }
    }
    byte[] page = new byte[WalPageHeader.PAGE];
    Fields p = new Fields();
    long offset = (long) block * page.length;
    p.add("LSN", Lsn.text(start + offset));
    int n = Bytes.read(in, offset, page, page.length);
    if (n < page.length) {
      p.add("content", "behind the end of the file");
    } else if (keys == null) {
      p.add("content", NO_KEYS + "no keys at hand");
    } else {
      try (WalRanges ranges = new WalRanges(keys.walKeys())) {
        governing(ranges, w.timeline(), start, size, groups);
        if (Bytes.isZero(page, 0, page.length)) {
          p.add("content", "zeros");
        } else if (Integer.compareUnsigned(w.timeline(), 65535) > 0) {
          p.add("content", "timelines above 65535 cannot be encrypted");
        } else {
          ranges.decode(w.timeline(), number, size, offset, page, page.length);
          header(page, w, start + offset, size, p);
        }
      } catch (KeyException e) {
        p.add("content", NO_KEYS + e.getMessage());
      }
    }
    groups.add(p.group("page"));
  }

  private static void governing(
      WalRanges ranges, int tli, long start, int size, List<Group> groups) {
    long limit = start + size;
    for (long at = start; at != limit; at = ranges.stretchEnd(tli, at, limit)) {
      Fields f = new Fields();
      f.add("from", Lsn.text(at));
      f.add("to", Lsn.text(ranges.stretchEnd(tli, at, limit)));
      WalRange r = ranges.governing(tli, at);
      if (r == null) {
        f.add("type", "none: clear");
      } else {
        f.add("type", r.type());
        f.add("entry in wal_keys", r.index());
        f.add("cipher", r.cipher());
        f.add("range begins at", Lsn.text(r.tli(), r.startLsn()));
      }
      groups.add(f.group("WAL range"));
    }
  }

  private static void header(byte[] page, WalFileName w, long lsn, int segmentSize, Fields f) {
    WalPageHeader h = WalPageHeader.read(page, 0);
    f.add(
        "magic",
        "%04x (%s)"
            .formatted(
                h.magic(), h.major() == 0 ? "of no known version" : "PostgreSQL " + h.major()));
    f.hex("flags", h.flags());
    f.unsigned("timeline", h.tli());
    f.add("address", Lsn.text(h.address()));
    f.unsigned("rest of a continued record", h.remaining());
    if (h.isLong()) {
      f.add("system identifier", Long.toUnsignedString(h.systemIdentifier()));
      f.unsigned("segment size", h.segmentSize());
      f.unsigned("page size", h.pageSize());
    }
    String problem = h.problem(w.timeline(), lsn, segmentSize, 0);
    f.add("header", problem == null ? "right" : "not of a page that was written here: " + problem);
  }

  // ---- sealed files ----

  private void sealed(FileChannel in, Fields f, List<Group> groups) throws IOException {
    byte[] header = SealedFile.header(in);
    if (!SealedFile.isSealed(header) && !isSealedCluster()) {
      f.add("content", "clear: a plain file of a pg_tde cluster");
      groups.add(f.group("file"));
      return;
    }
    f.add("clear length", SealedLayout.clearLength(in.size()));
    groups.add(f.group("file"));
    if (in.size() == 0 || header.length < SealedHeader.SIZE) {
      return;
    }
    Fields h = new Fields();
    SealedFile.Copies copies = null;
    SealKeys seal = keys == null ? null : keys.sealKeys();
    String reason = "no keys at hand";
    try {
      copies = seal == null ? null : SealedFile.copies(header, seal);
    } catch (KeyException e) {
      reason = String.valueOf(e.getMessage());
    }
    h.add("first copy", copies == null ? "not checked: " + reason : text(copies.first()));
    h.add("second copy", copies == null ? "not checked: " + reason : text(copies.second()));
    boolean secondServes =
        copies == null
            ? !SealedFile.isSealed(header)
            : copies.first() instanceof SealedHeader.Invalid
                && copies.second() instanceof SealedHeader.Valid;
    int at = secondServes ? SealedHeader.SIZE - SealedFile.COPY : 0;
    h.add("format", header[at + 7]);
    h.add("cipher", header[at + 8] == SealedHeader.AES_256_XTS ? "AES-256-XTS" : header[at + 8]);
    h.add("unit", (1 << (header[at + 9] & 31)) + " bytes");
    h.add("seal-key id", HexFormat.of().formatHex(header, at + 32, at + 48));
    h.add("file id", HexFormat.of().formatHex(header, at + 48, at + 64));
    groups.add(h.group("header"));
    byte[] content = keyFileContent("pgveil.seal");
    if (content != null) {
      try {
        groups.add(principalKey(KeyFileSummary.parse("pgveil.seal", content).header()));
      } catch (KeyException e) {
        // the copies say so
      }
    }
  }

  private boolean isSealedCluster() {
    return Files.exists(
        cipherDirectory.resolve(DataDirectory.KEY_DIRECTORY).resolve("pgveil.seal"));
  }

  private static String text(SealedHeader.Result copy) {
    return switch (copy) {
      case SealedHeader.Valid v -> "authentic";
      case SealedHeader.Invalid i -> i.message();
    };
  }
}
