package io.pgveil.fuse;

import static io.pgveil.linux.Errno.EFBIG;
import static io.pgveil.linux.Errno.EINVAL;
import static io.pgveil.linux.Errno.EIO;
import static io.pgveil.linux.Errno.ENOSYS;

import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns one request in memory into one call of a {@link FileSystem} and one reply.
 *
 * <p>A request is {@code struct fuse_in_header} (40 bytes), a fixed structure by operation, then
 * names or data. Nothing in it is trusted: a request that is too short, or a name without its end,
 * empty, {@code .}, {@code ..} or with a slash in it, is answered with EINVAL, and whatever is
 * thrown below with EIO. A reply is {@code struct fuse_out_header} (16 bytes) and a payload. The
 * payload may be built where names and data of the request lie: both are used up by then.
 *
 * <p>Used by one thread at a time: the objects handed to the file system are reused.
 */
final class RequestDispatcher {
  private static final Logger LOG = LoggerFactory.getLogger(RequestDispatcher.class);

  private static final int ENOTTY = 25;

  /** Replies must lie above this: lower numbers are internal to the kernel, which refuses them. */
  private static final int LOWEST_ERROR = -511;

  /**
   * {@code copy_file_range} counts in 32 bits; whole pages keep the kernel's next piece aligned.
   */
  private static final long COPY_MAX = 0x7ffff000L;

  private static final int SETATTR_KNOWN =
      FileSystem.SetAttributes.MODE
          | FileSystem.SetAttributes.UID
          | FileSystem.SetAttributes.GID
          | FileSystem.SetAttributes.SIZE
          | FileSystem.SetAttributes.ATIME
          | FileSystem.SetAttributes.MTIME
          | FileSystem.SetAttributes.ATIME_NOW
          | FileSystem.SetAttributes.MTIME_NOW
          | FileSystem.SetAttributes.CTIME;

  /** Where finished replies go. */
  @FunctionalInterface
  interface ReplySink {
    /**
     * Sends a reply of {@code size} bytes with its header; returns {@code >= 0}, or -errno if the
     * kernel did not take it.
     */
    long send(long address, int size);

    /**
     * Whether the request stays as it is when its reply was sent, until {@code dispatch} returns.
     */
    default boolean leavesRequest() {
      return true;
    }
  }

  private final FileSystem fileSystem;
  private final ReplySink sink;
  private final OperationCounters counters;

  /** Payload of the reply. */
  private final long out;

  /** The 16 bytes of the reply's header. */
  private final long replyHeader;

  /** Bytes of payload there is room for. */
  private final int capacity;

  private final FileSystem.Entry entry = new FileSystem.Entry();
  private final FileSystem.Attributes attributes = new FileSystem.Attributes();
  private final FileSystem.SetAttributes changes = new FileSystem.SetAttributes();
  private final FileSystem.OpenResult opened = new FileSystem.OpenResult();
  private final FileSystem.Statfs statfs = new FileSystem.Statfs();
  private final DirectoryBuffer directory = new DirectoryBuffer();

  // The request at hand: its header, its arguments and the end of both.
  private long header;
  private long args;
  private long end;
  private long node;
  private boolean answered;

  /**
   * @param out where payloads of replies are built, page-aligned
   * @param replyHeader where their headers are built, outside of the request
   * @param capacity bytes at {@code out}, at least 4096
   */
  RequestDispatcher(
      FileSystem fileSystem,
      ReplySink sink,
      OperationCounters counters,
      long out,
      long replyHeader,
      int capacity) {
    this.fileSystem = fileSystem;
    this.sink = sink;
    this.counters = counters;
    this.out = out;
    this.replyHeader = replyHeader;
    this.capacity = capacity;
  }

  /** Handles the request of {@code size} bytes at {@code address}. Throws nothing. */
  void dispatch(long address, int size) {
    if (size < Protocol.IN_HEADER_SIZE) {
      LOG.error("A request of {} bytes has no header; nobody to answer", size);
      return;
    }
    long start = System.nanoTime();
    header = address;
    args = address + Protocol.IN_HEADER_SIZE;
    end = address + size;
    node = Memory.getLong(address + 16);
    int opcode = Memory.getInt(address + 4);
    int result;
    Throwable failure = null;
    answered = false;
    try {
      result =
          Memory.getInt(address) != size || end - args < Protocol.argumentSize(opcode)
              ? -EINVAL
              : handle(opcode);
    } catch (Throwable t) {
      // Answer before anything else: a process hangs uninterruptibly as long as it waits.
      failure = t;
      result = -EIO;
    }
    counters.count(opcode);
    if (wantsReply(opcode) && !answered) {
      reply(opcode, result);
    }
    counters.time(opcode, System.nanoTime() - start);
    if (failure != null) {
      log(opcode, failure);
    }
  }

  private void log(int opcode, Throwable failure) {
    try {
      LOG.error("{} of node {} failed, answered EIO", Protocol.name(opcode), node, failure);
    } catch (Throwable ignored) {
      // Out of memory, say: the request is answered, and the next one needs this thread.
    }
  }

  private static boolean wantsReply(int opcode) {
    return opcode != Protocol.FORGET
        && opcode != Protocol.BATCH_FORGET
        && opcode != Protocol.NOTIFY_REPLY;
  }

  private void reply(int opcode, int result) {
    int error = result < 0 ? result : 0;
    if (error < LOWEST_ERROR) {
      error = -EIO;
    }
    int size = Protocol.OUT_HEADER_SIZE + Math.max(result, 0);
    long at = replyHeader;
    Memory.putInt(at, size);
    Memory.putInt(at + 4, error);
    Memory.putLong(at + 8, Memory.getLong(header + 8));
    if (sink.send(at, size) < 0 && error == 0) {
      takeBack(opcode);
    }
  }

  /** The kernel did not take a reply: it will not give back what the reply handed out. */
  private void takeBack(int opcode) {
    try {
      switch (opcode) {
        case Protocol.OPEN -> fileSystem.release(node, opened.handle, Memory.getInt(args));
        case Protocol.OPENDIR -> fileSystem.releasedir(node, opened.handle);
        case Protocol.CREATE -> {
          fileSystem.release(entry.node, opened.handle, Memory.getInt(args));
          fileSystem.forget(entry.node, 1);
        }
        case Protocol.LOOKUP, Protocol.SYMLINK, Protocol.MKNOD, Protocol.MKDIR, Protocol.LINK -> {
          if (entry.node != 0) {
            fileSystem.forget(entry.node, 1);
          }
        }
        default -> {}
      }
    } catch (Throwable t) {
      log(opcode, t);
    }
  }

  /** Returns the size of the payload at {@link #out}, or -errno. */
  private int handle(int opcode) {
    return switch (opcode) {
      case Protocol.LOOKUP -> lookup();
      case Protocol.FORGET -> forget();
      case Protocol.BATCH_FORGET -> batchForget();
      case Protocol.GETATTR -> getattr();
      case Protocol.SETATTR -> setattr();
      case Protocol.READLINK ->
          checked(fileSystem.readlink(node, out, Protocol.PAGE), Protocol.PAGE);
      case Protocol.SYMLINK -> symlink();
      case Protocol.MKNOD -> mknod();
      case Protocol.MKDIR -> mkdir();
      case Protocol.UNLINK -> {
        String name = name(args);
        yield name == null ? -EINVAL : status(fileSystem.unlink(node, name));
      }
      case Protocol.RMDIR -> {
        String name = name(args);
        yield name == null ? -EINVAL : status(fileSystem.rmdir(node, name));
      }
      case Protocol.RENAME -> rename(args + 8, 0);
      case Protocol.RENAME2 -> rename(args + 16, Memory.getInt(args + 8));
      case Protocol.LINK -> link();
      case Protocol.OPEN -> {
        opened.clear();
        yield opened(fileSystem.open(caller(), node, Memory.getInt(args), opened), out);
      }
      case Protocol.CREATE -> create();
      case Protocol.READ -> read();
      case Protocol.WRITE -> write();
      case Protocol.STATFS -> statfs();
      case Protocol.RELEASE -> {
        fileSystem.release(node, Memory.getLong(args), Memory.getInt(args + 8));
        yield 0;
      }
      case Protocol.FSYNC -> status(fileSystem.fsync(node, Memory.getLong(args), dataOnly()));
      case Protocol.FSYNCDIR -> status(fileSystem.fsyncdir(node, Memory.getLong(args), dataOnly()));
      case Protocol.FLUSH -> status(fileSystem.flush(node, Memory.getLong(args)));
      case Protocol.OPENDIR -> {
        opened.clear();
        yield opened(fileSystem.opendir(node, opened), out);
      }
      case Protocol.READDIR -> readdir(false);
      case Protocol.READDIRPLUS -> readdir(true);
      case Protocol.RELEASEDIR -> {
        fileSystem.releasedir(node, Memory.getLong(args));
        yield 0;
      }
      case Protocol.FALLOCATE -> fallocate();
      case Protocol.LSEEK -> lseek();
      case Protocol.COPY_FILE_RANGE -> copyFileRange();
      case Protocol.SYNCFS -> status(fileSystem.syncfs(node));
      case Protocol.DESTROY, Protocol.NOTIFY_REPLY -> 0;
      case Protocol.IOCTL -> -ENOTTY;
      // ENOSYS makes the kernel do without and not ask again: extended attributes become
      // EOPNOTSUPP, locks are kept by the kernel, ACCESS is decided by default_permissions, STATX
      // falls back to GETATTR. INTERRUPT: a request is always finished, never dropped halfway. A
      // second INIT is none of a running session.
      default -> -ENOSYS;
    };
  }

  // ---- names and nodes ----

  private int lookup() {
    String name = name(args);
    return name == null ? -EINVAL : entered(fileSystem.lookup(node, name, clearedEntry()));
  }

  private int forget() {
    long count = Memory.getLong(args);
    if (count > 0) {
      fileSystem.forget(node, count);
    }
    return 0;
  }

  private int batchForget() {
    long count = Integer.toUnsignedLong(Memory.getInt(args));
    for (long at = args + 8; count > 0 && at + 16 <= end; count--, at += 16) {
      long forgotten = Memory.getLong(at + 8);
      if (forgotten > 0) {
        fileSystem.forget(Memory.getLong(at), forgotten);
      }
    }
    return 0;
  }

  private int symlink() {
    String name = name(args);
    String target = name == null ? null : string(args + name.length() + 1);
    if (name == null || target == null || target.isEmpty()) {
      return -EINVAL;
    }
    return entered(fileSystem.symlink(caller(), node, name, target, clearedEntry()));
  }

  private int mknod() {
    String name = name(args + 16);
    if (name == null) {
      return -EINVAL;
    }
    int mode = Memory.getInt(args);
    int rdev = Memory.getInt(args + 4);
    return entered(fileSystem.mknod(caller(), node, name, mode, rdev, clearedEntry()));
  }

  private int mkdir() {
    String name = name(args + 8);
    if (name == null) {
      return -EINVAL;
    }
    int mode = Memory.getInt(args);
    return entered(fileSystem.mkdir(caller(), node, name, mode, clearedEntry()));
  }

  private int rename(long names, int flags) {
    String name = name(names);
    String newName = name == null ? null : name(names + name.length() + 1);
    if (name == null || newName == null) {
      return -EINVAL;
    }
    return status(fileSystem.rename(node, name, Memory.getLong(args), newName, flags));
  }

  private int link() {
    String name = name(args + 8);
    if (name == null) {
      return -EINVAL;
    }
    return entered(fileSystem.link(Memory.getLong(args), node, name, clearedEntry()));
  }

  private int create() {
    String name = name(args + 16);
    if (name == null) {
      return -EINVAL;
    }
    int flags = Memory.getInt(args) & ~Posix.O_CREAT;
    int mode = Memory.getInt(args + 4);
    opened.clear();
    int result = fileSystem.create(caller(), node, name, mode, flags, clearedEntry(), opened);
    if (result < 0) {
      return result;
    }
    putEntry(out, entry);
    return Protocol.ENTRY_OUT_SIZE + opened(0, out + Protocol.ENTRY_OUT_SIZE);
  }

  // ---- attributes ----

  private int getattr() {
    boolean byHandle = (Memory.getInt(args) & Protocol.GETATTR_HANDLE) != 0;
    attributes.validMillis = 0;
    return attributes(
        fileSystem.getattr(node, byHandle ? Memory.getLong(args + 8) : 0, attributes));
  }

  private int setattr() {
    int valid = Memory.getInt(args);
    changes.valid = valid & SETATTR_KNOWN;
    changes.size = Memory.getLong(args + 16);
    changes.atime = Memory.getLong(args + 32);
    changes.mtime = Memory.getLong(args + 40);
    changes.ctime = Memory.getLong(args + 48);
    changes.atimeNanos = Memory.getInt(args + 56);
    changes.mtimeNanos = Memory.getInt(args + 60);
    changes.ctimeNanos = Memory.getInt(args + 64);
    changes.mode = Memory.getInt(args + 68);
    changes.uid = Memory.getInt(args + 76);
    changes.gid = Memory.getInt(args + 80);
    // utimensat(2) gives nanoseconds above a second a meaning of their own.
    if (((valid & FileSystem.SetAttributes.SIZE) != 0 && changes.size < 0)
        || isNoTime(FileSystem.SetAttributes.ATIME, changes.atimeNanos)
        || isNoTime(FileSystem.SetAttributes.MTIME, changes.mtimeNanos)
        || isNoTime(FileSystem.SetAttributes.CTIME, changes.ctimeNanos)) {
      return -EINVAL;
    }
    boolean byHandle = (valid & Protocol.SETATTR_HANDLE) != 0;
    attributes.validMillis = 0;
    return attributes(
        fileSystem.setattr(node, byHandle ? Memory.getLong(args + 8) : 0, changes, attributes));
  }

  private boolean isNoTime(int flag, int nanos) {
    return (changes.valid & flag) != 0 && (nanos < 0 || nanos > 999_999_999);
  }

  private int attributes(int result) {
    if (result < 0) {
      return result;
    }
    Memory.putLong(out, attributes.validMillis / 1000);
    Memory.putInt(out + 8, nanos(attributes.validMillis));
    Memory.putInt(out + 12, 0);
    putAttributes(out + 16, attributes);
    return Protocol.ATTRIBUTES_OUT_SIZE;
  }

  private int statfs() {
    int result = fileSystem.statfs(node, statfs);
    if (result < 0) {
      return result;
    }
    Memory.putLong(out, statfs.blocks);
    Memory.putLong(out + 8, statfs.blocksFree);
    Memory.putLong(out + 16, statfs.blocksAvailable);
    Memory.putLong(out + 24, statfs.files);
    Memory.putLong(out + 32, statfs.filesFree);
    Memory.putInt(out + 40, statfs.blockSize);
    Memory.putInt(out + 44, statfs.nameMax);
    Memory.putInt(out + 48, statfs.fragmentSize);
    Memory.fill(out + 52, Protocol.STATFS_OUT_SIZE - 52L, 0);
    return Protocol.STATFS_OUT_SIZE;
  }

  // ---- data ----

  private int read() {
    long offset = Memory.getLong(args + 8);
    int size = Memory.getInt(args + 16);
    if (offset < 0 || size < 0 || offset + size < 0 || size > capacity) {
      // A short answer would mean end of file to the kernel.
      return -EINVAL;
    }
    int flags = Memory.getInt(args + 32);
    return checked(fileSystem.read(node, Memory.getLong(args), offset, size, flags, out), size);
  }

  private int write() {
    long offset = Memory.getLong(args + 8);
    int size = Memory.getInt(args + 16);
    long data = args + Protocol.WRITE_IN_SIZE;
    if (offset < 0 || size < 0 || size > end - data) {
      return -EINVAL;
    }
    if (offset + size < 0) {
      return -EFBIG;
    }
    boolean fromCache = (Memory.getInt(args + 20) & Protocol.WRITE_FROM_CACHE) != 0;
    int flags = Memory.getInt(args + 32);
    long handle = Memory.getLong(args);
    return written(
        checked(
            sink.leavesRequest()
                ? fileSystem.write(
                    node, handle, offset, size, flags, fromCache, data, () -> answerWrite(size))
                : fileSystem.write(node, handle, offset, size, flags, fromCache, data),
            size));
  }

  private void answerWrite(int size) {
    if (!answered) {
      answered = true;
      reply(Protocol.WRITE, written(size));
    }
  }

  private int written(int count) {
    if (count < 0) {
      return count;
    }
    Memory.putInt(out, count);
    Memory.putInt(out + 4, 0);
    return 8;
  }

  private boolean dataOnly() {
    return (Memory.getInt(args + 8) & Protocol.FSYNC_DATA_ONLY) != 0;
  }

  private int fallocate() {
    long offset = Memory.getLong(args + 8);
    long size = Memory.getLong(args + 16);
    if (offset < 0 || size <= 0) {
      return -EINVAL;
    }
    if (offset + size < 0) {
      return -EFBIG;
    }
    int mode = Memory.getInt(args + 24);
    return status(fileSystem.fallocate(node, Memory.getLong(args), mode, offset, size));
  }

  private int lseek() {
    long offset = Memory.getLong(args + 8);
    int whence = Memory.getInt(args + 16);
    if (offset < 0 || (whence != Posix.SEEK_DATA && whence != Posix.SEEK_HOLE)) {
      return -EINVAL;
    }
    long result = fileSystem.lseek(node, Memory.getLong(args), offset, whence);
    if (result < 0) {
      return error(result);
    }
    Memory.putLong(out, result);
    return 8;
  }

  private int copyFileRange() {
    long offset = Memory.getLong(args + 8);
    long toOffset = Memory.getLong(args + 32);
    long size = Memory.getLong(args + 40);
    if (offset < 0 || toOffset < 0 || size < 0 || Memory.getLong(args + 48) != 0) {
      return -EINVAL;
    }
    size = Math.min(size, COPY_MAX);
    long result =
        fileSystem.copyFileRange(
            node,
            Memory.getLong(args),
            offset,
            Memory.getLong(args + 16),
            Memory.getLong(args + 24),
            toOffset,
            size);
    return written(result < 0 ? error(result) : result > size ? -EIO : (int) result);
  }

  // ---- directories ----

  private int readdir(boolean plus) {
    long cookie = Memory.getLong(args + 8);
    int size = Memory.getInt(args + 16);
    if (size < 0) {
      return -EINVAL;
    }
    directory.begin(plus, Math.min(size, capacity));
    long handle = Memory.getLong(args);
    int result =
        plus
            ? fileSystem.readdirplus(node, handle, cookie, directory)
            : fileSystem.readdir(node, handle, cookie, directory);
    // An error behind entries already given shows again when the kernel goes on from there; these
    // entries hold references, which must reach the kernel.
    return result < 0 && directory.used == 0 ? result : directory.used;
  }

  /** The entries of one READDIR or READDIRPLUS reply. */
  private final class DirectoryBuffer implements FileSystem.DirectoryOutput {
    private boolean plus;
    private int limit;
    private int used;

    void begin(boolean withAttributes, int size) {
      plus = withAttributes;
      limit = size;
      used = 0;
    }

    @Override
    public boolean add(String name, long ino, int type, long nextCookie) {
      if (!hasRoom(name.length())) {
        return false;
      }
      if (plus) {
        // Node 0: no attributes, nothing to forget.
        Memory.fill(out + used, Protocol.ENTRY_OUT_SIZE, 0);
        used += Protocol.ENTRY_OUT_SIZE;
      }
      putDirent(name, ino, type, nextCookie);
      return true;
    }

    @Override
    public boolean hasRoomPlus(int nameSize) {
      return hasRoom(nameSize);
    }

    private boolean hasRoom(int nameSize) {
      int entrySize = plus ? Protocol.ENTRY_OUT_SIZE : 0;
      return used + entrySize + align(Protocol.DIRENT_SIZE + nameSize) <= limit;
    }

    @Override
    public boolean addPlus(String name, FileSystem.Entry found, long nextCookie) {
      if (!plus) {
        throw new IllegalStateException("READDIR takes no attributes");
      }
      if (!hasRoom(name.length())) {
        return false;
      }
      putEntry(out + used, found);
      used += Protocol.ENTRY_OUT_SIZE;
      putDirent(name, found.attributes.ino, (found.attributes.mode >> 12) & 15, nextCookie);
      return true;
    }

    private void putDirent(String name, long ino, int type, long nextCookie) {
      long at = out + used;
      int size = Protocol.DIRENT_SIZE + name.length();
      Memory.putLong(at, ino);
      Memory.putLong(at + 8, nextCookie);
      Memory.putInt(at + 16, name.length());
      Memory.putInt(at + 20, type);
      for (int i = 0; i < name.length(); i++) {
        Memory.putByte(at + Protocol.DIRENT_SIZE + i, name.charAt(i));
      }
      Memory.fill(at + size, align(size) - size, 0);
      used += align(size);
    }

    private static int align(int size) {
      return (size + 7) & ~7;
    }
  }

  // ---- pieces of requests and replies ----

  private FileSystem.Caller caller() {
    return new FileSystem.Caller(
        Memory.getInt(header + 24), Memory.getInt(header + 28), Memory.getInt(header + 32));
  }

  /** The NUL-terminated byte string at {@code address}, null if it does not end in the request. */
  private @Nullable String string(long address) {
    if (address >= end) {
      return null;
    }
    int max = (int) (end - address);
    int size = Memory.stringLength(address, max);
    return size == max ? null : Memory.getString(address, size);
  }

  /** A name in a directory, null if it is none: it may reach a path of the backing directory. */
  private @Nullable String name(long address) {
    String s = string(address);
    return s == null || s.isEmpty() || s.equals(".") || s.equals("..") || s.indexOf('/') >= 0
        ? null
        : s;
  }

  private FileSystem.Entry clearedEntry() {
    entry.node = 0;
    entry.generation = 0;
    entry.entryValidMillis = 0;
    entry.attributes.validMillis = 0;
    return entry;
  }

  private int entered(int result) {
    if (result < 0) {
      return result;
    }
    putEntry(out, entry);
    return Protocol.ENTRY_OUT_SIZE;
  }

  private int opened(int result, long at) {
    if (result < 0) {
      return result;
    }
    int flags =
        (opened.directIo ? Protocol.OPEN_DIRECT_IO : 0)
            | (opened.keepCache ? Protocol.OPEN_KEEP_CACHE : 0)
            | (opened.cacheDirectory ? Protocol.OPEN_CACHE_DIR : 0)
            | (opened.parallelDirectWrites ? Protocol.OPEN_PARALLEL_DIRECT_WRITES : 0);
    Memory.putLong(at, opened.handle);
    Memory.putInt(at + 8, flags);
    Memory.putInt(at + 12, 0);
    return Protocol.OPEN_OUT_SIZE;
  }

  private static void putEntry(long at, FileSystem.Entry entry) {
    Memory.putLong(at, entry.node);
    Memory.putLong(at + 8, entry.generation);
    Memory.putLong(at + 16, entry.entryValidMillis / 1000);
    Memory.putLong(at + 24, entry.attributes.validMillis / 1000);
    Memory.putInt(at + 32, nanos(entry.entryValidMillis));
    Memory.putInt(at + 36, nanos(entry.attributes.validMillis));
    if (entry.node == 0) {
      Memory.fill(at + 40, Protocol.ATTRIBUTES_SIZE, 0);
    } else {
      putAttributes(at + 40, entry.attributes);
    }
  }

  private static void putAttributes(long at, FileSystem.Attributes a) {
    Memory.putLong(at, a.ino);
    Memory.putLong(at + 8, a.size);
    Memory.putLong(at + 16, a.blocks);
    Memory.putLong(at + 24, a.atime);
    Memory.putLong(at + 32, a.mtime);
    Memory.putLong(at + 40, a.ctime);
    Memory.putInt(at + 48, a.atimeNanos);
    Memory.putInt(at + 52, a.mtimeNanos);
    Memory.putInt(at + 56, a.ctimeNanos);
    Memory.putInt(at + 60, a.mode);
    Memory.putInt(at + 64, a.nlink);
    Memory.putInt(at + 68, a.uid);
    Memory.putInt(at + 72, a.gid);
    Memory.putInt(at + 76, a.rdev);
    Memory.putInt(at + 80, a.blockSize);
    Memory.putInt(at + 84, 0);
  }

  private static int nanos(long millis) {
    return (int) (millis % 1000) * 1_000_000;
  }

  /** A result without payload: 0 or -errno. */
  private static int status(int result) {
    return Math.min(result, 0);
  }

  /** A count; one above what was asked for is a fault of the file system. */
  private static int checked(int count, int max) {
    return count > max ? -EIO : count;
  }

  private static int error(long result) {
    return (int) Math.max(result, Integer.MIN_VALUE + 1);
  }
}
