package io.pgveil.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Map;

/**
 * The system calls that pgveil uses. See the package comment for how errors, paths and memory are
 * passed. Every call may be used by several threads at once.
 */
public final class Posix {
  public static final int O_RDONLY = 0;
  public static final int O_WRONLY = 1;
  public static final int O_RDWR = 2;
  public static final int O_ACCMODE = 3;
  public static final int O_CREAT = 0100;
  public static final int O_EXCL = 0200;
  public static final int O_TRUNC = 01000;
  public static final int O_APPEND = 02000;
  public static final int O_NONBLOCK = 04000;
  public static final int O_DSYNC = 010000;
  public static final int O_SYNC = 04010000;
  public static final int O_DIRECT = arch(040000, 0200000);
  public static final int O_DIRECTORY = arch(0200000, 040000);
  public static final int O_NOFOLLOW = arch(0400000, 0100000);
  public static final int O_CLOEXEC = 02000000;
  public static final int O_PATH = 010000000;

  public static final int AT_FDCWD = -100;
  public static final int AT_SYMLINK_NOFOLLOW = 0x100;
  public static final int AT_REMOVEDIR = 0x200;
  public static final int AT_SYMLINK_FOLLOW = 0x400;
  public static final int AT_EMPTY_PATH = 0x1000;

  public static final int RENAME_NOREPLACE = 1;
  public static final int RENAME_EXCHANGE = 2;

  public static final int FALLOC_FL_KEEP_SIZE = 1;
  public static final int FALLOC_FL_PUNCH_HOLE = 2;
  public static final int FALLOC_FL_COLLAPSE_RANGE = 8;
  public static final int FALLOC_FL_ZERO_RANGE = 16;
  public static final int FALLOC_FL_INSERT_RANGE = 32;

  public static final int SEEK_SET = 0;
  public static final int SEEK_CUR = 1;
  public static final int SEEK_END = 2;
  public static final int SEEK_DATA = 3;
  public static final int SEEK_HOLE = 4;

  /** Nanosecond values of {@link #utimens} that mean "now" and "leave as it is". */
  public static final long UTIME_NOW = (1L << 30) - 1;

  public static final long UTIME_OMIT = (1L << 30) - 2;

  public static final int LOCK_EX = 2;
  public static final int LOCK_NB = 4;
  public static final int LOCK_UN = 8;

  public static final int PROT_READ = 1;
  public static final int PROT_WRITE = 2;
  public static final int MAP_SHARED = 1;
  public static final int MAP_PRIVATE = 2;
  public static final int MAP_ANONYMOUS = 0x20;
  public static final int MADV_DONTDUMP = 16;
  public static final int MADV_DONTFORK = 10;
  public static final int MCL_CURRENT = 1;
  public static final int MCL_FUTURE = 2;
  public static final int MCL_ONFAULT = 4;

  public static final int RLIMIT_CORE = 4;
  public static final int RLIMIT_NOFILE = 7;
  public static final int RLIMIT_MEMLOCK = 8;

  public static final int PR_SET_PDEATHSIG = 1;
  public static final int PR_SET_DUMPABLE = 4;
  public static final int PR_SET_IO_FLUSHER = 57;

  public static final int AF_UNIX = 1;
  public static final int SOCK_STREAM = 1;
  public static final int SOCK_DGRAM = 2;
  public static final int SOCK_CLOEXEC = 02000000;

  public static final long MS_NOSUID = 2;
  public static final long MS_NODEV = 4;
  public static final long MS_NOATIME = 1024;
  public static final int MNT_FORCE = 1;
  public static final int MNT_DETACH = 2;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final int PATH_MAX = 4096;

  private static final MethodHandle OPENAT =
      variadic("openat", 3, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT);
  private static final MethodHandle CLOSE = bind("close", JAVA_INT, JAVA_INT);
  private static final MethodHandle READ = bind("read", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle WRITE =
      bind("write", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle PREAD =
      bind("pread", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle PWRITE =
      bind("pwrite", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle STATX =
      bind("statx", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG);
  private static final MethodHandle FTRUNCATE = bind("ftruncate", JAVA_INT, JAVA_INT, JAVA_LONG);
  private static final MethodHandle FALLOCATE =
      bind("fallocate", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle LSEEK = bind("lseek", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
  private static final MethodHandle FSYNC = bind("fsync", JAVA_INT, JAVA_INT);
  private static final MethodHandle FDATASYNC = bind("fdatasync", JAVA_INT, JAVA_INT);

  private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

  /** Calls that are not needed to serve the first request are bound when first used. */
  private static final class Lazy {
    static final MethodHandle MKDIRAT = bind("mkdirat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle MKNODAT =
        bind("mknodat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG);
    static final MethodHandle UNLINKAT = bind("unlinkat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle RENAMEAT2 =
        bind("renameat2", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle LINKAT =
        bind("linkat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle SYMLINKAT =
        bind("symlinkat", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG);
    static final MethodHandle READLINKAT =
        bind("readlinkat", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    static final MethodHandle FCHMODAT =
        bind("fchmodat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT);
    static final MethodHandle FCHOWNAT =
        bind("fchownat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle FCHMOD = bind("fchmod", JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle FCHOWN = bind("fchown", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle UTIMENSAT =
        bind("utimensat", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    static final MethodHandle FUTIMENS = bind("futimens", JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle GETDENTS64 =
        bind("getdents64", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle FSTATFS = bind("fstatfs", JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle SYNCFS = bind("syncfs", JAVA_INT, JAVA_INT);
    static final MethodHandle SYNC_FILE_RANGE =
        bind("sync_file_range", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    static final MethodHandle FLOCK = bind("flock", JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle DUP = bind("dup", JAVA_INT, JAVA_INT);
    static final MethodHandle IOCTL =
        variadic("ioctl", 2, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle MOUNT =
        bind("mount", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    static final MethodHandle UMOUNT2 = bind("umount2", JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle UMASK = bind("umask", JAVA_INT, JAVA_INT);
    static final MethodHandle GETUID = bind("getuid", JAVA_INT);
    static final MethodHandle GETEUID = bind("geteuid", JAVA_INT);
    static final MethodHandle GETEGID = bind("getegid", JAVA_INT);
    static final MethodHandle SETRLIMIT = bind("setrlimit", JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle GETRLIMIT = bind("getrlimit", JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle MMAP =
        bind("mmap", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle MUNMAP = bind("munmap", JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle MLOCK = bind("mlock", JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle MLOCKALL = bind("mlockall", JAVA_INT, JAVA_INT);
    static final MethodHandle MADVISE = bind("madvise", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    static final MethodHandle PRCTL =
        variadic("prctl", 1, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    static final MethodHandle SOCKET = bind("socket", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle SOCKETPAIR =
        bind("socketpair", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
    static final MethodHandle SENDTO =
        bind("sendto", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle RECVMSG = bind("recvmsg", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle POSIX_SPAWN =
        bind(
            "posix_spawnp",
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG);
    static final MethodHandle WAITPID = bind("waitpid", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle KILL = bind("kill", JAVA_INT, JAVA_INT, JAVA_INT);
    static final MethodHandle SCHED_SETAFFINITY =
        bind("sched_setaffinity", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle IO_URING =
        variadic(
            "syscall", 1, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
            JAVA_LONG, JAVA_LONG);
    static final MethodHandle SETFSUID = bind("setfsuid", JAVA_INT, JAVA_INT);
    static final MethodHandle SETFSGID = bind("setfsgid", JAVA_INT, JAVA_INT);
  }

  /** Memory that one thread needs for one call: errno, two paths, one structure. */
  private static final class Scratch {
    final MemorySegment errno = Arena.ofAuto().allocate(Linker.Option.captureStateLayout());
    final MemorySegment block = Arena.ofAuto().allocate(2L * (PATH_MAX + 1) + 1024, 16);
    final long struct = block.address();
    final long path = struct + 1024;
    final long path2 = path + PATH_MAX + 1;

    int failure() {
      return -errno.get(JAVA_INT, 0);
    }
  }

  private Posix() {}

  private static int arch(int x86, int arm) {
    return System.getProperty("os.arch", "").equals("aarch64") ? arm : x86;
  }

  private static MethodHandle bind(String name, MemoryLayout result, MemoryLayout... arguments) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().find(name).orElseThrow(() -> new UnsatisfiedLinkError(name)),
        FunctionDescriptor.of(result, arguments),
        Linker.Option.captureCallState("errno"));
  }

  private static MethodHandle variadic(
      String name, int fixedArguments, MemoryLayout result, MemoryLayout... arguments) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().find(name).orElseThrow(() -> new UnsatisfiedLinkError(name)),
        FunctionDescriptor.of(result, arguments),
        Linker.Option.captureCallState("errno"),
        Linker.Option.firstVariadicArg(fixedArguments));
  }

  private static AssertionError unexpected(Throwable t) {
    return new AssertionError("a downcall does not throw", t);
  }

  private static int putPath(long address, String path) {
    int n = path.length();
    if (n >= PATH_MAX) {
      return -Errno.ENAMETOOLONG;
    }
    if (path.indexOf('\0') >= 0) {
      return -Errno.EINVAL;
    }
    Memory.putString(address, path);
    return 0;
  }

  // ---- files ----

  public static int open(String path, int flags, int mode) {
    return openat(AT_FDCWD, path, flags, mode);
  }

  /** O_CLOEXEC is always added. */
  public static int openat(int dirFd, String path, int flags, int mode) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) OPENAT.invokeExact(s.errno, dirFd, s.path, flags | O_CLOEXEC, mode);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int close(int fd) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) CLOSE.invokeExact(s.errno, fd);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** One {@code read(2)}; may be short. */
  public static long read(int fd, long address, long size) {
    Scratch s = SCRATCH.get();
    try {
      long r = (long) READ.invokeExact(s.errno, fd, address, size);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** One {@code write(2)}; may be short. */
  public static long write(int fd, long address, long size) {
    Scratch s = SCRATCH.get();
    try {
      long r = (long) WRITE.invokeExact(s.errno, fd, address, size);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Reads until {@code size} bytes or end of file; returns the bytes read or -errno. */
  public static long pread(int fd, long address, long size, long offset) {
    Scratch s = SCRATCH.get();
    long done = 0;
    try {
      while (done < size) {
        long r = (long) PREAD.invokeExact(s.errno, fd, address + done, size - done, offset + done);
        if (r < 0) {
          int e = s.failure();
          if (e == -Errno.EINTR) {
            continue;
          }
          return e;
        }
        if (r == 0) {
          break;
        }
        done += r;
      }
      return done;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Writes all {@code size} bytes; returns {@code size} or -errno. After an error any prefix may
   * have been written.
   */
  public static long pwrite(int fd, long address, long size, long offset) {
    Scratch s = SCRATCH.get();
    long done = 0;
    try {
      while (done < size) {
        long r = (long) PWRITE.invokeExact(s.errno, fd, address + done, size - done, offset + done);
        if (r < 0) {
          int e = s.failure();
          if (e == -Errno.EINTR) {
            continue;
          }
          return e;
        }
        if (r == 0) {
          return -Errno.EIO;
        }
        done += r;
      }
      return done;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** {@code statx} of {@code path} below {@code dirFd}, not following a last symbolic link. */
  public static int statat(int dirFd, String path, Stat out) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    int flags = AT_SYMLINK_NOFOLLOW | (path.isEmpty() ? AT_EMPTY_PATH : 0);
    try {
      int r = (int) STATX.invokeExact(s.errno, dirFd, s.path, flags, 0x7ff, s.struct);
      if (r < 0) {
        return s.failure();
      }
    } catch (Throwable t) {
      throw unexpected(t);
    }
    out.readFrom(s.struct);
    return 0;
  }

  public static int fstat(int fd, Stat out) {
    return statat(fd, "", out);
  }

  public static int ftruncate(int fd, long size) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) FTRUNCATE.invokeExact(s.errno, fd, size);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int fallocate(int fd, int mode, long offset, long size) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) FALLOCATE.invokeExact(s.errno, fd, mode, offset, size);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static long lseek(int fd, long offset, int whence) {
    Scratch s = SCRATCH.get();
    try {
      long r = (long) LSEEK.invokeExact(s.errno, fd, offset, whence);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int fsync(int fd) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) FSYNC.invokeExact(s.errno, fd);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int fdatasync(int fd) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) FDATASYNC.invokeExact(s.errno, fd);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Begins to write a file's changed pages to the device; waits for none and promises nothing. */
  public static int startWriteback(int fd) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.SYNC_FILE_RANGE.invokeExact(s.errno, fd, 0L, 0L, 2);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int syncfs(int fd) {
    return oneInt(Lazy.SYNCFS, fd);
  }

  public static int dup(int fd) {
    return oneInt(Lazy.DUP, fd);
  }

  private static int oneInt(MethodHandle call, int argument) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) call.invokeExact(s.errno, argument);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  private static int twoInts(MethodHandle call, int a, int b) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) call.invokeExact(s.errno, a, b);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int flock(int fd, int operation) {
    return twoInts(Lazy.FLOCK, fd, operation);
  }

  public static int fchmod(int fd, int mode) {
    return twoInts(Lazy.FCHMOD, fd, mode);
  }

  /** An id of -1 is left as it is. */
  public static int fchown(int fd, int uid, int gid) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.FCHOWN.invokeExact(s.errno, fd, uid, gid);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Times in seconds and nanoseconds, the latter also {@link #UTIME_NOW}, {@link #UTIME_OMIT}. */
  public static int futimens(int fd, long atime, long atimeNanos, long mtime, long mtimeNanos) {
    Scratch s = SCRATCH.get();
    putTimes(s.struct, atime, atimeNanos, mtime, mtimeNanos);
    try {
      int r = (int) Lazy.FUTIMENS.invokeExact(s.errno, fd, s.struct);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  private static void putTimes(
      long struct, long atime, long atimeNanos, long mtime, long mtimeNanos) {
    Memory.putLong(struct, atime);
    Memory.putLong(struct + 8, atimeNanos);
    Memory.putLong(struct + 16, mtime);
    Memory.putLong(struct + 24, mtimeNanos);
  }

  // ---- names ----

  public static int mkdirat(int dirFd, String path, int mode) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.MKDIRAT.invokeExact(s.errno, dirFd, s.path, mode);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int mknodat(int dirFd, String path, int mode, long dev) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.MKNODAT.invokeExact(s.errno, dirFd, s.path, mode, dev);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** {@code flags}: 0 or {@link #AT_REMOVEDIR}. */
  public static int unlinkat(int dirFd, String path, int flags) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.UNLINKAT.invokeExact(s.errno, dirFd, s.path, flags);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int renameat(int fromFd, String from, int toFd, String to, int flags) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, from);
    if (e == 0) {
      e = putPath(s.path2, to);
    }
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.RENAMEAT2.invokeExact(s.errno, fromFd, s.path, toFd, s.path2, flags);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** {@code flags}: 0 or {@link #AT_SYMLINK_FOLLOW}. */
  public static int linkat(int fromFd, String from, int toFd, String to, int flags) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, from);
    if (e == 0) {
      e = putPath(s.path2, to);
    }
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.LINKAT.invokeExact(s.errno, fromFd, s.path, toFd, s.path2, flags);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int symlinkat(String target, int dirFd, String path) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, target);
    if (e == 0) {
      e = putPath(s.path2, path);
    }
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.SYMLINKAT.invokeExact(s.errno, s.path, dirFd, s.path2);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Writes the target to {@code address}, no NUL; returns its length or -errno. */
  public static int readlinkat(int dirFd, String path, long address, long size) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      long r = (long) Lazy.READLINKAT.invokeExact(s.errno, dirFd, s.path, address, size);
      return r < 0 ? s.failure() : (int) r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Follows symbolic links: Linux cannot change the mode of one. */
  public static int chmodat(int dirFd, String path, int mode) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.FCHMODAT.invokeExact(s.errno, dirFd, s.path, mode, 0);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Does not follow a last symbolic link; an id of -1 is left as it is. */
  public static int chownat(int dirFd, String path, int uid, int gid) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    try {
      int r =
          (int) Lazy.FCHOWNAT.invokeExact(s.errno, dirFd, s.path, uid, gid, AT_SYMLINK_NOFOLLOW);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** As {@link #futimens}, by path, not following a last symbolic link. */
  public static int utimens(
      int dirFd, String path, long atime, long atimeNanos, long mtime, long mtimeNanos) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, path);
    if (e < 0) {
      return e;
    }
    putTimes(s.struct, atime, atimeNanos, mtime, mtimeNanos);
    try {
      int r =
          (int) Lazy.UTIMENSAT.invokeExact(s.errno, dirFd, s.path, s.struct, AT_SYMLINK_NOFOLLOW);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Fills {@code struct linux_dirent64} records; returns their bytes, 0 at the end. */
  public static int getdents(int fd, long address, long size) {
    Scratch s = SCRATCH.get();
    try {
      long r = (long) Lazy.GETDENTS64.invokeExact(s.errno, fd, address, size);
      return r < 0 ? s.failure() : (int) r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Fills {@code struct statfs} (120 bytes) at {@code address}. */
  public static int fstatfs(int fd, long address) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.FSTATFS.invokeExact(s.errno, fd, address);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int ioctl(int fd, long request, long argument) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.IOCTL.invokeExact(s.errno, fd, request, argument);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  // ---- mounts ----

  public static int mount(String source, String target, String type, long flags, String data) {
    Scratch s = SCRATCH.get();
    try (Arena arena = Arena.ofConfined()) {
      int r =
          (int)
              Lazy.MOUNT.invokeExact(
                  s.errno,
                  cString(arena, source),
                  cString(arena, target),
                  cString(arena, type),
                  flags,
                  cString(arena, data));
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int umount(String target, int flags) {
    Scratch s = SCRATCH.get();
    int e = putPath(s.path, target);
    if (e < 0) {
      return e;
    }
    try {
      int r = (int) Lazy.UMOUNT2.invokeExact(s.errno, s.path, flags);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  // ---- process ----

  public static int umask(int mask) {
    return oneInt(Lazy.UMASK, mask);
  }

  public static int getuid() {
    return noArgument(Lazy.GETUID);
  }

  public static int geteuid() {
    return noArgument(Lazy.GETEUID);
  }

  public static int getegid() {
    return noArgument(Lazy.GETEGID);
  }

  private static int noArgument(MethodHandle call) {
    try {
      return (int) call.invokeExact(SCRATCH.get().errno);
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Sets the identity under which this thread creates files; returns the previous user id. */
  public static int setfsuid(int uid) {
    return oneInt(Lazy.SETFSUID, uid);
  }

  /** As {@link #setfsuid}, for the group. */
  public static int setfsgid(int gid) {
    return oneInt(Lazy.SETFSGID, gid);
  }

  public static int kill(int pid, int signal) {
    return twoInts(Lazy.KILL, pid, signal);
  }

  /** Binds this thread to one processor; returns 0 or -errno. */
  public static int bindToCpu(int cpu) {
    if (cpu < 0 || cpu >= 8192) {
      return -Errno.EINVAL;
    }
    Scratch s = SCRATCH.get();
    Memory.fill(s.struct, 1024, 0);
    Memory.putByte(s.struct + cpu / 8, 1 << (cpu % 8));
    try {
      int r = (int) Lazy.SCHED_SETAFFINITY.invokeExact(s.errno, 0, 1024L, s.struct);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** One of the system calls of io_uring, which the C library does not wrap. */
  static int ioUring(long number, long a, long b, long c, long d) {
    Scratch s = SCRATCH.get();
    try {
      long r = (long) Lazy.IO_URING.invokeExact(s.errno, number, a, b, c, d, 0L, 0L);
      return r < 0 ? s.failure() : (int) r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Sets soft and hard limit of a resource. */
  public static int setrlimit(int resource, long soft, long hard) {
    Scratch s = SCRATCH.get();
    Memory.putLong(s.struct, soft);
    Memory.putLong(s.struct + 8, hard);
    try {
      int r = (int) Lazy.SETRLIMIT.invokeExact(s.errno, resource, s.struct);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** The limits of a resource as {soft, hard}; -1 means unlimited. */
  public static long[] getrlimit(int resource) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.GETRLIMIT.invokeExact(s.errno, resource, s.struct);
      if (r < 0) {
        throw new IllegalArgumentException("getrlimit " + resource);
      }
    } catch (IllegalArgumentException e) {
      throw e;
    } catch (Throwable t) {
      throw unexpected(t);
    }
    return new long[] {Memory.getLong(s.struct), Memory.getLong(s.struct + 8)};
  }

  public static int prctl(int option, long a, long b, long c, long d) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.PRCTL.invokeExact(s.errno, option, a, b, c, d);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  // ---- memory ----

  /** Private anonymous memory; returns its address or -errno. */
  public static long mmapAnonymous(long size) {
    Scratch s = SCRATCH.get();
    try {
      long r =
          (long)
              Lazy.MMAP.invokeExact(
                  s.errno, 0L, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
      return r == -1 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Memory shared with the kernel through {@code fd}; returns its address or -errno. */
  static long mmapShared(int fd, long size, long offset) {
    Scratch s = SCRATCH.get();
    try {
      long r =
          (long)
              Lazy.MMAP.invokeExact(
                  s.errno, 0L, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
      return r == -1 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int munmap(long address, long size) {
    return region(Lazy.MUNMAP, address, size);
  }

  public static int mlock(long address, long size) {
    return region(Lazy.MLOCK, address, size);
  }

  private static int region(MethodHandle call, long address, long size) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) call.invokeExact(s.errno, address, size);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  public static int mlockall(int flags) {
    return oneInt(Lazy.MLOCKALL, flags);
  }

  public static int madvise(long address, long size, int advice) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.MADVISE.invokeExact(s.errno, address, size, advice);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  // ---- sockets and children ----

  public static int socket(int domain, int type, int protocol) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.SOCKET.invokeExact(s.errno, domain, type, protocol);
      return r < 0 ? s.failure() : r;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** A connected pair of Unix stream sockets; neither is closed on exec. */
  public static int socketpair(int[] out) {
    Scratch s = SCRATCH.get();
    try {
      int r = (int) Lazy.SOCKETPAIR.invokeExact(s.errno, AF_UNIX, SOCK_STREAM, 0, s.struct);
      if (r < 0) {
        return s.failure();
      }
    } catch (Throwable t) {
      throw unexpected(t);
    }
    out[0] = Memory.getInt(s.struct);
    out[1] = Memory.getInt(s.struct + 4);
    return 0;
  }

  /**
   * Sends one datagram to the Unix socket {@code path}; a path that begins with {@code '@'} names
   * an abstract socket.
   */
  public static int sendDatagram(int fd, String path, byte[] message) {
    if (path.isEmpty() || path.length() > 107) {
      return -Errno.EINVAL;
    }
    Scratch s = SCRATCH.get();
    try (Arena arena = Arena.ofConfined()) {
      long address = arena.allocate(110, 2).address();
      Memory.putShort(address, AF_UNIX);
      Memory.putString(address + 2, path);
      if (path.charAt(0) == '@') {
        Memory.putByte(address + 2, 0);
      }
      long data = arena.allocate(message.length + 1L).address();
      Memory.copyIn(message, 0, data, message.length);
      int addressSize = 2 + path.length();
      long r =
          (long)
              Lazy.SENDTO.invokeExact(
                  s.errno, fd, data, (long) message.length, 0, address, addressSize);
      return r < 0 ? s.failure() : 0;
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Receives one file descriptor (SCM_RIGHTS) over a Unix socket; returns it or -errno. */
  public static int receiveFd(int socket) {
    Scratch s = SCRATCH.get();
    try (Arena arena = Arena.ofConfined()) {
      long b = arena.allocate(256, 16).address();
      long iov = b + 64;
      long data = b + 96;
      long control = b + 128;
      Memory.putLong(iov, data);
      Memory.putLong(iov + 8, 1);
      // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
      Memory.putLong(b + 16, iov);
      Memory.putLong(b + 24, 1);
      Memory.putLong(b + 32, control);
      Memory.putLong(b + 40, 64);
      long r = (long) Lazy.RECVMSG.invokeExact(s.errno, socket, b, 0x40000000);
      if (r < 0) {
        return s.failure();
      }
      // struct cmsghdr: len (8), level (4), type (4), then the descriptor; SCM_RIGHTS is 1
      if (r == 0 || Memory.getLong(b + 40) < 20 || Memory.getInt(control + 12) != 1) {
        return -Errno.ENOTCONN;
      }
      return Memory.getInt(control + 16);
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Starts a program found on the PATH; it inherits standard streams and every descriptor that is
   * not close-on-exec. Returns its process id or -errno.
   */
  public static int spawn(List<String> argv, Map<String, String> environment) {
    Scratch s = SCRATCH.get();
    try (Arena arena = Arena.ofConfined()) {
      long args = arena.allocate((argv.size() + 1) * 8L, 8).address();
      for (int i = 0; i < argv.size(); i++) {
        Memory.putLong(args + 8L * i, cString(arena, argv.get(i)));
      }
      long env = arena.allocate((environment.size() + 1) * 8L, 8).address();
      int i = 0;
      for (Map.Entry<String, String> e : environment.entrySet()) {
        Memory.putLong(env + 8L * i++, cString(arena, e.getKey() + "=" + e.getValue()));
      }
      int r =
          (int)
              Lazy.POSIX_SPAWN.invokeExact(
                  s.errno, s.struct, Memory.getLong(args), 0L, 0L, args, env);
      // posix_spawn returns the error itself and leaves errno alone
      return r != 0 ? -r : Memory.getInt(s.struct);
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  /** Waits for a child; returns its exit code, 128 + signal, or -errno. */
  public static int waitFor(int pid) {
    Scratch s = SCRATCH.get();
    try {
      while (true) {
        int r = (int) Lazy.WAITPID.invokeExact(s.errno, pid, s.struct, 0);
        if (r < 0) {
          int e = s.failure();
          if (e == -Errno.EINTR) {
            continue;
          }
          return e;
        }
        int status = Memory.getInt(s.struct);
        return (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
      }
    } catch (Throwable t) {
      throw unexpected(t);
    }
  }

  private static long cString(Arena arena, String byteString) {
    long address = arena.allocate(byteString.length() + 1L).address();
    Memory.putString(address, byteString);
    return address;
  }
}
