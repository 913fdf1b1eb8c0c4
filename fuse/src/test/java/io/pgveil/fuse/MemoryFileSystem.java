package io.pgveil.fuse;

import static io.pgveil.linux.Errno.EEXIST;
import static io.pgveil.linux.Errno.EFBIG;
import static io.pgveil.linux.Errno.EINVAL;
import static io.pgveil.linux.Errno.EISDIR;
import static io.pgveil.linux.Errno.ENOENT;
import static io.pgveil.linux.Errno.ENOTDIR;
import static io.pgveil.linux.Errno.ENOTEMPTY;
import static io.pgveil.linux.Errno.ENXIO;
import static io.pgveil.linux.Errno.EOPNOTSUPP;
import static io.pgveil.linux.Errno.ESTALE;

import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A file system in memory, complete and simple: every operation holds one lock. */
class MemoryFileSystem implements FileSystem {
  private static final int PAGE = 4096;
  private static final long VALID_MILLIS = 3_600_000;

  private static final class Node {
    final long id;
    final Map<String, Dirent> children = new HashMap<>();
    final TreeMap<Long, Dirent> listing = new TreeMap<>();
    final TreeMap<Long, byte[]> pages = new TreeMap<>();
    final String target;
    final int rdev;
    int mode;
    int uid;
    int gid;
    int nlink;
    long size;
    long references;
    int open;
    Instant atime = Instant.now();
    Instant mtime = atime;
    Instant ctime = atime;

    Node(long id, int mode, int uid, int gid, String target, int rdev) {
      this.id = id;
      this.mode = mode;
      this.uid = uid;
      this.gid = gid;
      this.target = target;
      this.rdev = rdev;
    }

    boolean isDirectory() {
      return (mode & Stat.S_IFMT) == Stat.S_IFDIR;
    }
  }

  private record Dirent(String name, Node node, long cookie) {}

  /** What fsync, flush and fsyncdir were asked for. */
  final AtomicInteger syncs = new AtomicInteger();

  final AtomicInteger directorySyncs = new AtomicInteger();
  final AtomicInteger stopped = new AtomicInteger();
  volatile int lastWriteFlags;
  volatile @Nullable Caller lastCaller;

  /** Files whose name starts so are opened for direct I/O. */
  volatile String directPrefix = "direct";

  /** What {@link #write} answers instead of writing, if not 0. */
  volatile int writeError;

  private final Map<Long, Node> nodes = new HashMap<>();
  private final Map<Long, String> directNodes = new HashMap<>();
  private long nextNode = ROOT + 1;
  private long nextCookie = 1;
  private volatile @Nullable SessionInfo info;

  MemoryFileSystem() {
    this(Posix.geteuid(), Posix.getegid());
  }

  MemoryFileSystem(int uid, int gid) {
    Node root = new Node(ROOT, Stat.S_IFDIR | 0755, uid, gid, "", 0);
    root.nlink = 2;
    root.references = 1;
    nodes.put(ROOT, root);
  }

  /** Nodes that exist, the root included. */
  synchronized int nodeCount() {
    return nodes.size();
  }

  /** The contents of a file by its name in the root, as the file system has them now. */
  synchronized byte @Nullable [] contents(String name) {
    Node root = nodes.get(ROOT);
    Dirent d = root == null ? null : root.children.get(name);
    if (d == null) {
      return null;
    }
    byte[] bytes = new byte[(int) d.node.size];
    d.node.pages.forEach(
        (page, data) -> {
          int at = (int) (page * PAGE);
          if (at < bytes.length) {
            System.arraycopy(data, 0, bytes, at, Math.min(PAGE, bytes.length - at));
          }
        });
    return bytes;
  }

  synchronized long nodeOf(String name) {
    Node root = nodes.get(ROOT);
    Dirent d = root == null ? null : root.children.get(name);
    return d == null ? 0 : d.node.id;
  }

  /** Changes a file behind the kernel's back. */
  synchronized void overwrite(String name, byte[] bytes) {
    Node n = nodes.get(nodeOf(name));
    if (n != null) {
      n.pages.put(0L, Arrays.copyOf(bytes, PAGE));
    }
  }

  /** Makes a name vanish behind the kernel's back. */
  synchronized void removeName(String name) {
    Node root = nodes.get(ROOT);
    if (root != null) {
      unlinkEntry(root, name);
    }
  }

  SessionInfo info() {
    SessionInfo i = info;
    if (i == null) {
      throw new IllegalStateException("not started");
    }
    return i;
  }

  @Override
  public void started(SessionInfo negotiated) {
    info = negotiated;
  }

  @Override
  public void stopped() {
    stopped.incrementAndGet();
  }

  // ---- names ----

  @Override
  public synchronized int lookup(long parent, String name, Entry out) {
    Node dir = nodes.get(parent);
    if (dir == null) {
      return -ESTALE;
    }
    Dirent d = dir.children.get(name);
    if (d == null) {
      out.node = 0;
      out.entryValidMillis = VALID_MILLIS;
      return 0;
    }
    give(d.node, out);
    return 0;
  }

  private static void give(Node n, Entry out) {
    n.references++;
    out.node = n.id;
    out.generation = 1;
    out.entryValidMillis = VALID_MILLIS;
    fill(n, out.attributes);
  }

  private static void fill(Node n, Attributes a) {
    a.ino = n.id;
    a.size = n.isDirectory() ? PAGE : n.target.isEmpty() ? n.size : n.target.length();
    a.blocks = n.pages.size() * 8L;
    a.atime = n.atime.getEpochSecond();
    a.mtime = n.mtime.getEpochSecond();
    a.ctime = n.ctime.getEpochSecond();
    a.atimeNanos = n.atime.getNano();
    a.mtimeNanos = n.mtime.getNano();
    a.ctimeNanos = n.ctime.getNano();
    a.mode = n.mode;
    a.nlink = n.nlink;
    a.uid = n.uid;
    a.gid = n.gid;
    a.rdev = n.rdev;
    a.blockSize = PAGE;
    a.validMillis = VALID_MILLIS;
  }

  @Override
  public synchronized void forget(long node, long count) {
    Node n = nodes.get(node);
    if (n != null) {
      n.references -= count;
      dropIfUnused(n);
    }
  }

  private void dropIfUnused(Node n) {
    if (n.id != ROOT && n.nlink == 0 && n.references <= 0 && n.open == 0) {
      nodes.remove(n.id);
    }
  }

  private int make(
      Caller caller, long parent, String name, int mode, String target, int rdev, Entry out) {
    lastCaller = caller;
    Node dir = nodes.get(parent);
    if (dir == null || dir.nlink == 0) {
      return -ENOENT;
    }
    if (dir.children.containsKey(name)) {
      return -EEXIST;
    }
    Node n = new Node(nextNode++, mode, caller.uid(), caller.gid(), target, rdev);
    if (name.startsWith(directPrefix)) {
      directNodes.put(n.id, name);
    }
    nodes.put(n.id, n);
    n.nlink = n.isDirectory() ? 2 : 1;
    if (n.isDirectory()) {
      dir.nlink++;
    }
    attach(dir, name, n);
    give(n, out);
    return 0;
  }

  private void attach(Node dir, String name, Node n) {
    Dirent d = new Dirent(name, n, nextCookie++);
    dir.children.put(name, d);
    dir.listing.put(d.cookie, d);
    dir.mtime = dir.ctime = Instant.now();
  }

  private static @Nullable Node detach(Node dir, String name) {
    Dirent d = dir.children.remove(name);
    if (d == null) {
      return null;
    }
    dir.listing.remove(d.cookie);
    dir.mtime = dir.ctime = Instant.now();
    return d.node;
  }

  @Override
  public synchronized int symlink(
      Caller caller, long parent, String name, String target, Entry out) {
    return make(caller, parent, name, Stat.S_IFLNK | 0777, target, 0, out);
  }

  @Override
  public synchronized int readlink(long node, long address, int size) {
    Node n = nodes.get(node);
    if (n == null || n.target.isEmpty()) {
      return -EINVAL;
    }
    return Memory.putString(address, n.target) - 1;
  }

  @Override
  public synchronized int mknod(
      Caller caller, long parent, String name, int mode, int rdev, Entry out) {
    return make(caller, parent, name, mode, "", rdev, out);
  }

  @Override
  public synchronized int mkdir(Caller caller, long parent, String name, int mode, Entry out) {
    return make(caller, parent, name, Stat.S_IFDIR | (mode & 07777), "", 0, out);
  }

  private int unlinkEntry(Node dir, String name) {
    Node n = detach(dir, name);
    if (n == null) {
      return -ENOENT;
    }
    n.nlink -= n.isDirectory() ? 2 : 1;
    if (n.isDirectory()) {
      dir.nlink--;
    }
    dropIfUnused(n);
    return 0;
  }

  @Override
  public synchronized int unlink(long parent, String name) {
    Node dir = nodes.get(parent);
    return dir == null ? -ESTALE : unlinkEntry(dir, name);
  }

  @Override
  public synchronized int rmdir(long parent, String name) {
    Node dir = nodes.get(parent);
    Dirent d = dir == null ? null : dir.children.get(name);
    if (dir == null || d == null) {
      return -ENOENT;
    }
    if (!d.node.isDirectory()) {
      return -ENOTDIR;
    }
    return d.node.children.isEmpty() ? unlinkEntry(dir, name) : -ENOTEMPTY;
  }

  @Override
  public synchronized int rename(
      long parent, String name, long newParent, String newName, int flags) {
    Node from = nodes.get(parent);
    Node to = nodes.get(newParent);
    Dirent source = from == null ? null : from.children.get(name);
    if (from == null || to == null || source == null) {
      return -ENOENT;
    }
    Dirent target = to.children.get(newName);
    if (flags == Posix.RENAME_EXCHANGE) {
      if (target == null) {
        return -ENOENT;
      }
      detach(from, name);
      detach(to, newName);
      attach(from, name, target.node);
      attach(to, newName, source.node);
      return 0;
    }
    if ((flags & ~Posix.RENAME_NOREPLACE) != 0) {
      return -EINVAL;
    }
    if (target != null) {
      if ((flags & Posix.RENAME_NOREPLACE) != 0) {
        return -EEXIST;
      }
      if (target.node == source.node) {
        return 0;
      }
      if (target.node.isDirectory() != source.node.isDirectory()) {
        return target.node.isDirectory() ? -EISDIR : -ENOTDIR;
      }
      if (!target.node.children.isEmpty()) {
        return -ENOTEMPTY;
      }
      unlinkEntry(to, newName);
    }
    detach(from, name);
    attach(to, newName, source.node);
    if (source.node.isDirectory() && from != to) {
      from.nlink--;
      to.nlink++;
    }
    source.node.ctime = Instant.now();
    return 0;
  }

  @Override
  public synchronized int link(long node, long newParent, String newName, Entry out) {
    Node n = nodes.get(node);
    Node dir = nodes.get(newParent);
    if (n == null || dir == null) {
      return -ESTALE;
    }
    if (dir.children.containsKey(newName)) {
      return -EEXIST;
    }
    n.nlink++;
    attach(dir, newName, n);
    give(n, out);
    return 0;
  }

  // ---- attributes ----

  @Override
  public synchronized int getattr(long node, long handle, Attributes out) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    fill(n, out);
    return 0;
  }

  @Override
  public synchronized int setattr(long node, long handle, SetAttributes in, Attributes out) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    Instant now = Instant.now();
    n.ctime = now;
    if ((in.valid & SetAttributes.MODE) != 0) {
      n.mode = (n.mode & Stat.S_IFMT) | (in.mode & 07777);
    }
    if ((in.valid & SetAttributes.UID) != 0) {
      n.uid = in.uid;
    }
    if ((in.valid & SetAttributes.GID) != 0) {
      n.gid = in.gid;
    }
    if ((in.valid & SetAttributes.SIZE) != 0) {
      truncate(n, in.size);
      n.mtime = now;
    }
    if ((in.valid & SetAttributes.ATIME) != 0) {
      n.atime = (in.valid & SetAttributes.ATIME_NOW) != 0 ? now : time(in.atime, in.atimeNanos);
    }
    if ((in.valid & SetAttributes.MTIME) != 0) {
      n.mtime = (in.valid & SetAttributes.MTIME_NOW) != 0 ? now : time(in.mtime, in.mtimeNanos);
    }
    if ((in.valid & SetAttributes.CTIME) != 0) {
      n.ctime = time(in.ctime, in.ctimeNanos);
    }
    fill(n, out);
    return 0;
  }

  private static Instant time(long seconds, int nanos) {
    return Instant.ofEpochSecond(Math.clamp(seconds, -1L << 40, 1L << 40), nanos);
  }

  private static void truncate(Node n, long size) {
    if (size < n.size) {
      n.pages.tailMap((size + PAGE - 1) / PAGE, true).clear();
      byte[] last = n.pages.get(size / PAGE);
      if (last != null) {
        Arrays.fill(last, (int) (size % PAGE), PAGE, (byte) 0);
      }
    }
    n.size = size;
  }

  @Override
  public int statfs(long node, Statfs out) {
    out.blocks = 1000;
    out.blocksFree = 600;
    out.blocksAvailable = 500;
    out.files = 77;
    out.filesFree = 66;
    out.blockSize = PAGE;
    out.fragmentSize = PAGE;
    out.nameMax = 255;
    return 0;
  }

  // ---- files ----

  @Override
  public synchronized int open(Caller caller, long node, int flags, OpenResult out) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    open(n, out);
    return 0;
  }

  private void open(Node n, OpenResult out) {
    n.open++;
    out.handle = n.id;
    out.directIo = directNodes.containsKey(n.id);
    out.parallelDirectWrites = out.directIo;
    out.keepCache = !out.directIo;
  }

  @Override
  public synchronized int create(
      Caller caller,
      long parent,
      String name,
      int mode,
      int flags,
      Entry entry,
      OpenResult opened) {
    int r = make(caller, parent, name, Stat.S_IFREG | (mode & 07777), "", 0, entry);
    if (r == -EEXIST && (flags & Posix.O_EXCL) == 0) {
      r = lookup(parent, name, entry);
      Node existing = nodes.get(entry.node);
      if (existing != null && (flags & Posix.O_TRUNC) != 0) {
        truncate(existing, 0);
      }
    }
    Node n = nodes.get(entry.node);
    if (r < 0 || n == null) {
      return r;
    }
    open(n, opened);
    return 0;
  }

  @Override
  public synchronized int read(
      long node, long handle, long offset, int size, int openFlags, long address) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    int count = (int) Math.max(0, Math.min(size, n.size - offset));
    for (int done = 0; done < count; ) {
      int in = (int) ((offset + done) % PAGE);
      int k = Math.min(PAGE - in, count - done);
      byte[] page = n.pages.get((offset + done) / PAGE);
      if (page == null) {
        Memory.fill(address + done, k, 0);
      } else {
        Memory.copyIn(page, in, address + done, k);
      }
      done += k;
    }
    return count;
  }

  @Override
  public synchronized int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address) {
    if (writeError != 0) {
      return writeError;
    }
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    lastWriteFlags = openFlags;
    for (int done = 0; done < size; ) {
      int in = (int) ((offset + done) % PAGE);
      int k = Math.min(PAGE - in, size - done);
      byte[] page = n.pages.computeIfAbsent((offset + done) / PAGE, p -> new byte[PAGE]);
      Memory.copyOut(address + done, page, in, k);
      done += k;
    }
    n.size = Math.max(n.size, offset + size);
    if (!fromCache) {
      n.mtime = n.ctime = Instant.now();
    }
    return size;
  }

  @Override
  public int flush(long node, long handle) {
    return 0;
  }

  @Override
  public synchronized void release(long node, long handle, int openFlags) {
    Node n = nodes.get(node);
    if (n != null) {
      n.open--;
      dropIfUnused(n);
    }
  }

  @Override
  public int fsync(long node, long handle, boolean dataOnly) {
    syncs.incrementAndGet();
    return 0;
  }

  @Override
  public synchronized int fallocate(long node, long handle, int mode, long offset, long size) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    boolean punch = (mode & Posix.FALLOC_FL_PUNCH_HOLE) != 0;
    boolean zero = (mode & Posix.FALLOC_FL_ZERO_RANGE) != 0;
    if ((mode & ~(Posix.FALLOC_FL_PUNCH_HOLE | Posix.FALLOC_FL_ZERO_RANGE | 1)) != 0) {
      return -EOPNOTSUPP;
    }
    long end = offset + size;
    if (size > 1 << 30) {
      return -EFBIG;
    }
    for (long at = offset; at < end; ) {
      long page = at / PAGE;
      int in = (int) (at % PAGE);
      int k = (int) Math.min(PAGE - in, end - at);
      if (punch && k == PAGE) {
        n.pages.remove(page);
      } else {
        byte[] data =
            punch ? n.pages.get(page) : n.pages.computeIfAbsent(page, p -> new byte[PAGE]);
        if (data != null && (punch || zero)) {
          Arrays.fill(data, in, in + k, (byte) 0);
        }
      }
      at += k;
    }
    if ((mode & Posix.FALLOC_FL_KEEP_SIZE) == 0) {
      n.size = Math.max(n.size, end);
    }
    return 0;
  }

  @Override
  public synchronized long lseek(long node, long handle, long offset, int whence) {
    Node n = nodes.get(node);
    if (n == null) {
      return -ESTALE;
    }
    if (offset >= n.size) {
      return -ENXIO;
    }
    if (whence == Posix.SEEK_DATA) {
      Long page = n.pages.ceilingKey(offset / PAGE);
      long at = page == null ? n.size : Math.max(offset, page * PAGE);
      return at >= n.size ? -ENXIO : at;
    }
    long at = offset;
    while (at < n.size && n.pages.containsKey(at / PAGE)) {
      at = (at / PAGE + 1) * PAGE;
    }
    return Math.min(at, n.size);
  }

  @Override
  public synchronized long copyFileRange(
      long node, long handle, long offset, long toNode, long toHandle, long toOffset, long size) {
    Node from = nodes.get(node);
    if (from == null || !nodes.containsKey(toNode)) {
      return -ESTALE;
    }
    int count = (int) Math.max(0, Math.min(Math.min(size, 1 << 20), from.size - offset));
    long buffer = Posix.mmapAnonymous(1 << 20);
    try {
      read(node, handle, offset, count, 0, buffer);
      return write(toNode, toHandle, toOffset, count, 0, false, buffer);
    } finally {
      Posix.munmap(buffer, 1 << 20);
    }
  }

  // ---- directories ----

  @Override
  public int opendir(long node, OpenResult out) {
    out.handle = node;
    return 0;
  }

  @Override
  public int readdir(long node, long handle, long cookie, DirectoryOutput out) {
    return list(node, cookie, out, false);
  }

  @Override
  public int readdirplus(long node, long handle, long cookie, DirectoryOutput out) {
    return list(node, cookie, out, true);
  }

  private synchronized int list(long node, long cookie, DirectoryOutput out, boolean plus) {
    Node dir = nodes.get(node);
    if (dir == null) {
      return -ESTALE;
    }
    Entry entry = new Entry();
    for (Dirent d : dir.listing.tailMap(cookie, false).values()) {
      if (!plus) {
        if (!out.add(d.name, d.node.id, (d.node.mode >> 12) & 15, d.cookie)) {
          break;
        }
        continue;
      }
      if (!out.hasRoomPlus(d.name.length())) {
        break;
      }
      give(d.node, entry);
      if (!out.addPlus(d.name, entry, d.cookie)) {
        throw new IllegalStateException("hasRoomPlus promised room");
      }
    }
    return 0;
  }

  @Override
  public void releasedir(long node, long handle) {}

  @Override
  public int fsyncdir(long node, long handle, boolean dataOnly) {
    directorySyncs.incrementAndGet();
    return 0;
  }
}
