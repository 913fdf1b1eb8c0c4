package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.fuse.FileSystem;
import io.pgveil.keys.AddProvider;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.CreateKey;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SetKey;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * An encrypted data directory without a mount: what the kernel would ask for is asked by path. The
 * daemon's housekeeping runs only when called.
 */
final class Cluster implements AutoCloseable {
  static final FileSystem.Caller CALLER =
      new FileSystem.Caller(Posix.geteuid(), Posix.getegid(), 1);
  static final DataDirectory.Tuning TUNING = new DataDirectory.Tuning(512, 512, 0);
  private static final CipherType CIPHER = CipherType.AES_128;

  final Path temp;
  final Path directory;
  final RecordingBacking backing;
  final KeyDirectory keys;
  final DataDirectory data;
  final FileSystem fs;
  private boolean closed;

  private Cluster(
      Path temp,
      Path directory,
      KeyDirectory keys,
      RecordingBacking backing,
      DataDirectory.Tuning tuning,
      @Nullable Boolean walEncryption)
      throws Exception {
    this.temp = temp;
    this.directory = directory;
    this.keys = keys;
    this.backing = backing;
    this.data =
        DataDirectory.open(directory, keys, options(temp, backing, walEncryption, false), tuning);
    this.fs = data.fileSystem();
  }

  static DataDirectory.Options options(
      Path temp, Backing backing, @Nullable Boolean walEncryption, boolean allowTornPages) {
    return new DataDirectory.Options(
        temp.resolve("mount"), CIPHER, walEncryption, List.of(), allowTornPages, backing);
  }

  private static KeyDirectory.Settings settings() {
    return new KeyDirectory.Settings(List.of(), CIPHER);
  }

  /** An empty cipher directory with the directories that initdb makes, and its keys. */
  static Cluster create(Path temp) throws Exception {
    return create(temp, TUNING, true);
  }

  static Cluster create(Path temp, DataDirectory.Tuning tuning, @Nullable Boolean walEncryption)
      throws Exception {
    Path directory = Files.createTempDirectory(temp, "cipher");
    KeyDirectory keys = makeKeys(temp, directory);
    Cluster c = new Cluster(temp, directory, keys, new RecordingBacking(), tuning, walEncryption);
    for (String d :
        List.of("global", "base", "base/5", "pg_wal", "pg_xact", "pg_tblspc", "pg_replslot")) {
      assertThat(c.mkdir(d)).as(d).isZero();
    }
    c.backing.clear();
    return c;
  }

  /** As {@link #create(Path)}; changes of key files fail when {@code faults} says so. */
  static Cluster create(Path temp, KeyDirectory.Faults faults) throws Exception {
    try (Cluster made = create(temp)) {
      return new Cluster(
          temp,
          made.directory,
          KeyDirectory.open(made.directory.resolve("pg_tde"), settings(), faults),
          made.backing,
          TUNING,
          true);
    }
  }

  static KeyDirectory makeKeys(Path temp, Path directory) throws KeyException {
    KeyDirectory keys = KeyDirectory.create(directory.resolve("pg_tde"), settings());
    String json = "{\"path\": \"" + temp.resolve("keyring") + "\"}";
    new AddProvider(Scope.SERVER, "file", "vault", json).run(keys);
    String name = "key-" + directory.getFileName();
    new CreateKey(Scope.SERVER, "vault", name, CIPHER).run(keys);
    new SetKey(Scope.SERVER, Scope.SERVER, "vault", name).run(keys);
    new SetKey(Scope.DEFAULT, Scope.SERVER, "vault", name).run(keys);
    return keys;
  }

  /**
   * What a new daemon finds after the old one and everything else was killed at this instant: the
   * cipher directory as it is now, and nothing from memory.
   */
  Cluster killed() throws Exception {
    return killed(TUNING, true);
  }

  Cluster killed(DataDirectory.Tuning tuning, @Nullable Boolean walEncryption) throws Exception {
    Path copy = Files.createTempDirectory(temp, "killed");
    copyTree(directory, copy);
    return new Cluster(
        temp,
        copy,
        KeyDirectory.open(copy.resolve("pg_tde"), settings()),
        new RecordingBacking(),
        tuning,
        walEncryption);
  }

  static void copyTree(Path from, Path to) throws IOException {
    try (Stream<Path> all = Files.walk(from)) {
      for (Path p : (Iterable<Path>) all::iterator) {
        Path target = to.resolve(from.relativize(p).toString());
        if (Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS)) {
          Files.createDirectories(target);
        } else {
          Files.copy(p, target, LinkOption.NOFOLLOW_LINKS, StandardCopyOption.COPY_ATTRIBUTES);
        }
      }
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      backing.work();
      data.close();
      keys.close();
    }
  }

  Path cipher(String path) {
    return directory.resolve(path);
  }

  byte[] cipherBytes(String path) throws IOException {
    return Files.readAllBytes(cipher(path));
  }

  boolean exists(String path) {
    return Files.exists(cipher(path), LinkOption.NOFOLLOW_LINKS);
  }

  /** A pg_control as PostgreSQL 15 lays it out, of a cluster that is safe to serve. */
  static byte[] control(int state, int walSegmentSize) {
    byte[] b = new byte[8192];
    ByteBuffer c = ByteBuffer.wrap(b).order(ByteOrder.LITTLE_ENDIAN);
    c.putInt(8, 1300);
    c.putInt(16, state);
    c.put(56, (byte) 1);
    c.putInt(204, 8);
    c.putDouble(208, 1234567.0);
    c.putInt(216, 8192);
    c.putInt(220, 131072);
    c.putInt(228, walSegmentSize);
    c.putInt(252, 1);
    return b;
  }

  // ---- the kernel's part ----

  private static String parentOf(String path) {
    int slash = path.lastIndexOf('/');
    return slash < 0 ? "" : path.substring(0, slash);
  }

  private static String nameOf(String path) {
    return path.substring(path.lastIndexOf('/') + 1);
  }

  /** Node number by path; -errno if it cannot be found. */
  long node(String path) {
    long at = FileSystem.ROOT;
    if (path.isEmpty()) {
      return at;
    }
    for (String part : path.split("/")) {
      FileSystem.Entry e = new FileSystem.Entry();
      int r = fs.lookup(at, part, e);
      if (r < 0) {
        return r;
      }
      if (e.node == 0) {
        return -Errno.ENOENT;
      }
      at = e.node;
    }
    return at;
  }

  private long parentNode(String path) {
    long n = node(parentOf(path));
    assertThat(n).as("parent of " + path).isPositive();
    return n;
  }

  int mkdir(String path) {
    return fs.mkdir(CALLER, parentNode(path), nameOf(path), 0700, new FileSystem.Entry());
  }

  int rmdir(String path) {
    return fs.rmdir(parentNode(path), nameOf(path));
  }

  int unlink(String path) {
    return fs.unlink(parentNode(path), nameOf(path));
  }

  int rename(String from, String to) {
    return rename(from, to, 0);
  }

  int rename(String from, String to, int flags) {
    return fs.rename(parentNode(from), nameOf(from), parentNode(to), nameOf(to), flags);
  }

  int link(String from, String to) {
    return fs.link(node(from), parentNode(to), nameOf(to), new FileSystem.Entry());
  }

  int symlink(String target, String path) {
    return fs.symlink(
        CALLER, parentNode(path), nameOf(path), ByteString.of(target), new FileSystem.Entry());
  }

  FileSystem.Attributes stat(String path) {
    FileSystem.Attributes a = new FileSystem.Attributes();
    long n = node(path);
    assertThat(n).as(path).isPositive();
    assertThat(fs.getattr(n, 0, a)).as(path).isZero();
    return a;
  }

  int truncate(String path, long size) {
    FileSystem.SetAttributes in = new FileSystem.SetAttributes();
    in.valid = FileSystem.SetAttributes.SIZE;
    in.size = size;
    return fs.setattr(node(path), 0, in, new FileSystem.Attributes());
  }

  int setTimes(String path, long seconds) {
    FileSystem.SetAttributes in = new FileSystem.SetAttributes();
    in.valid = FileSystem.SetAttributes.MTIME | FileSystem.SetAttributes.ATIME;
    in.mtime = seconds;
    in.atime = seconds;
    return fs.setattr(node(path), 0, in, new FileSystem.Attributes());
  }

  /** An open file description. */
  final class Handle implements AutoCloseable {
    final long node;
    final long handle;
    boolean direct;

    private Handle(long node, FileSystem.OpenResult r) {
      this.node = node;
      this.handle = r.handle;
      this.direct = r.directIo;
    }

    int write(long offset, byte[] bytes) {
      return write(offset, bytes, 0, false);
    }

    int write(long offset, byte[] bytes, int flags, boolean fromCache) {
      Block b = new Block(bytes.length);
      Memory.copyIn(bytes, 0, b.address, bytes.length);
      return fs.write(node, handle, offset, bytes.length, flags, fromCache, b.address);
    }

    /** A write that may be answered before it is done. */
    int write(long offset, byte[] bytes, int flags, FileSystem.EarlyAnswer early) {
      Block b = new Block(bytes.length);
      Memory.copyIn(bytes, 0, b.address, bytes.length);
      return fs.write(node, handle, offset, bytes.length, flags, false, b.address, early);
    }

    /** Reads exactly or up to the end; throws nothing: null where the file system says -errno. */
    byte @Nullable [] read(long offset, int size) {
      Block b = new Block(size);
      int n = fs.read(node, handle, offset, size, 0, b.address);
      if (n < 0) {
        return null;
      }
      byte[] out = new byte[n];
      Memory.copyOut(b.address, out, 0, n);
      return out;
    }

    int readError(long offset, int size) {
      return fs.read(node, handle, offset, size, 0, new Block(size).address);
    }

    byte[] all() {
      FileSystem.Attributes a = new FileSystem.Attributes();
      assertThat(fs.getattr(node, handle, a)).isZero();
      byte[] b = read(0, (int) a.size + 8);
      assertThat(b).isNotNull();
      return b;
    }

    int fsync() {
      return fs.fsync(node, handle, false);
    }

    int fdatasync() {
      return fs.fsync(node, handle, true);
    }

    int allocate(int mode, long offset, long size) {
      return fs.fallocate(node, handle, mode, offset, size);
    }

    @Override
    public void close() {
      fs.release(node, handle, 0);
    }
  }

  /** Memory of one call; grows, one for each thread. */
  private static final class Block {
    private static final ThreadLocal<long[]> OWN = ThreadLocal.withInitial(() -> new long[2]);
    final long address;

    Block(int size) {
      long[] own = OWN.get();
      if (own[1] < size) {
        own[1] = Math.max(size, 64 * 1024);
        own[0] = Memory.allocate(own[1], 4096);
      }
      address = own[0];
    }
  }

  Handle create(String path) {
    return create(path, Posix.O_EXCL);
  }

  Handle create(String path, int flags) {
    FileSystem.Entry e = new FileSystem.Entry();
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    int r = fs.create(CALLER, parentNode(path), nameOf(path), 0600, flags, e, o);
    assertThat(r).as("create " + path).isZero();
    return new Handle(e.node, o);
  }

  int openError(String path, int flags) {
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    long n = node(path);
    return n < 0 ? (int) n : fs.open(CALLER, n, flags, o);
  }

  Handle open(String path) {
    return open(path, Posix.O_RDWR);
  }

  Handle open(String path, int flags) {
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    long n = node(path);
    assertThat(n).as(path).isPositive();
    int r = fs.open(CALLER, n, flags, o);
    assertThat(r).as("open " + path).isZero();
    return new Handle(n, o);
  }

  /** Creates a file with this content and closes it. */
  void write(String path, byte[] content) {
    try (Handle h = node(path) > 0 ? open(path) : create(path)) {
      assertThat(h.write(0, content)).as(path).isEqualTo(content.length);
    }
  }

  byte[] read(String path) {
    try (Handle h = open(path, Posix.O_RDONLY)) {
      return h.all();
    }
  }

  int readError(String path) {
    try (Handle h = open(path, Posix.O_RDONLY)) {
      return h.readError(0, 8192);
    }
  }

  int fsync(String path) {
    try (Handle h = open(path)) {
      return h.fsync();
    }
  }

  int fsyncDirectory(String path) {
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    long n = node(path);
    assertThat(fs.opendir(n, o)).isZero();
    int r = fs.fsyncdir(n, o.handle, false);
    fs.releasedir(n, o.handle);
    return r;
  }

  List<String> list(String path) {
    List<String> names = new ArrayList<>();
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    long n = node(path);
    assertThat(fs.opendir(n, o)).isZero();
    long[] cookie = {0};
    int before;
    do {
      before = names.size();
      assertThat(fs.readdir(n, o.handle, cookie[0], new Names(names, cookie, 50))).isZero();
    } while (names.size() > before);
    fs.releasedir(n, o.handle);
    names.removeIf(s -> s.equals(".") || s.equals(".."));
    return names;
  }

  /** Takes {@code room} names, then says that it is full. */
  static final class Names implements FileSystem.DirectoryOutput {
    private final List<String> names;
    private final long[] cookie;
    private int room;

    Names(List<String> names, long[] cookie, int room) {
      this.names = names;
      this.cookie = cookie;
      this.room = room;
    }

    @Override
    public boolean add(String name, long ino, int type, long nextCookie) {
      if (room == 0) {
        return false;
      }
      room--;
      names.add(name);
      cookie[0] = nextCookie;
      return true;
    }

    @Override
    public boolean hasRoomPlus(int nameSize) {
      return room > 0;
    }

    @Override
    public boolean addPlus(String name, FileSystem.Entry entry, long nextCookie) {
      return add(name, entry.attributes.ino, 0, nextCookie);
    }
  }

  /** Names that the daemon made for itself and that no one may see after an operation. */
  List<String> leftovers() throws IOException {
    try (Stream<Path> s = Files.list(directory.resolve("pg_tde"))) {
      return s.map(p -> p.getFileName().toString())
          .filter(n -> n.startsWith("pgveil.staged"))
          .toList();
    }
  }

  /** What a relation's key entry says, by a fresh look at the files on disk. */
  boolean keyOnDisk(int database, int relation) throws Exception {
    Path copy = Files.createTempDirectory(temp, "keys");
    copyTree(directory.resolve("pg_tde"), copy);
    try (KeyDirectory k = KeyDirectory.open(copy, settings())) {
      return k.relationKeys(database).contains(Place.DEFAULT_TABLESPACE, relation);
    }
  }

  static long sizeOnDisk(Path p) {
    Stat s = new Stat();
    assertThat(Posix.statat(Posix.AT_FDCWD, ByteString.of(p), s)).isZero();
    return s.size;
  }

  static byte[] page(int seed) {
    byte[] b = new byte[8192];
    new java.util.Random(seed).nextBytes(b);
    return b;
  }

  static byte[] bytes(int seed, int n) {
    byte[] b = new byte[n];
    new java.util.Random(seed).nextBytes(b);
    return b;
  }
}
