package io.pgveil.fuse;

import io.pgveil.linux.Errno;

/**
 * A file system as the kernel sees it: nodes by number, the root being {@link #ROOT}.
 *
 * <p>Every method returns 0 or a count {@code >= 0} on success and {@code -errno} on failure. It is
 * called by several worker threads at once, for the same node too; the kernel holds its own locks
 * over a directory while names in it change, and over a file while cached writes go on, but a file
 * system must not depend on them. A {@code RuntimeException} is answered with EIO and logged.
 *
 * <p>Names and link targets are byte strings (one char per byte). Memory is passed as raw addresses
 * that are valid during the call only.
 *
 * <p>Life of a node: {@link #lookup}, {@link #create}, {@link #mkdir}, {@link #mknod}, {@link
 * #symlink}, {@link #link} and each entry of {@link #readdirplus} that carries attributes give the
 * kernel one reference to the node; {@link #forget} takes some back. A node without references may
 * be dropped.
 */
public interface FileSystem {
  /** Node number of the root directory. */
  long ROOT = 1;

  /** Who asks: identities of the calling thread. */
  record Caller(int uid, int gid, int pid) {}

  /** What a file system may ask of the kernel. */
  interface Kernel {
    /**
     * Makes the kernel forget what a name leads to; it gives the node back by {@link #forget}
     * unless the node is in use. Not to be called from a method of the file system, nor under a
     * lock that one of them may wait for: see {@link FuseSession#invalidateEntry}.
     *
     * @return 0 or -errno; ENOENT: the kernel does not know the name
     */
    int forgetName(long parent, String name);
  }

  /** Called once, before {@link #started}. */
  default void kernel(Kernel kernel) {}

  /** The session is up, {@code info} says what was negotiated; nothing was asked before. */
  default void started(SessionInfo info) {}

  /**
   * What the kernel and the session agreed on. Sizes in bytes; {@code ioUring}: requests come
   * through rings.
   */
  record SessionInfo(
      int protocolMinor, boolean writebackCache, int maxWrite, int maxPages, boolean ioUring) {}

  /** The kernel asked to end the session (DESTROY) or the connection is gone. */
  default void stopped() {}

  int lookup(long parent, String name, Entry out);

  void forget(long node, long count);

  /** {@code handle} is 0 when the kernel gives none. */
  int getattr(long node, long handle, Attributes out);

  int setattr(long node, long handle, SetAttributes in, Attributes out);

  /**
   * Writes the target (no NUL) to {@code address}, at most {@code size} bytes; returns its length.
   */
  int readlink(long node, long address, int size);

  int symlink(Caller caller, long parent, String name, String target, Entry out);

  /**
   * {@code mode} holds type and permission bits, umask applied; {@code rdev} as the kernel packs
   * it.
   */
  int mknod(Caller caller, long parent, String name, int mode, int rdev, Entry out);

  int mkdir(Caller caller, long parent, String name, int mode, Entry out);

  int unlink(long parent, String name);

  int rmdir(long parent, String name);

  /** {@code flags}: 0, RENAME_NOREPLACE (1), RENAME_EXCHANGE (2). */
  int rename(long parent, String name, long newParent, String newName, int flags);

  int link(long node, long newParent, String newName, Entry out);

  /** {@code flags}: those of open(2) without O_CREAT and O_EXCL. */
  int open(Caller caller, long node, int flags, OpenResult out);

  /** Creates and opens a regular file; {@code flags} may hold O_EXCL and O_TRUNC. */
  int create(
      Caller caller, long parent, String name, int mode, int flags, Entry entry, OpenResult opened);

  /**
   * Reads into {@code address}; returns the bytes read, fewer than {@code size} only at the end.
   */
  int read(long node, long handle, long offset, int size, int openFlags, long address);

  /**
   * Writes {@code size} bytes at {@code address}; returns {@code size} or -errno.
   *
   * @param openFlags flags of the open file description: O_DSYNC and O_SYNC of a direct-I/O file
   *     arrive only here
   * @param fromCache the kernel writes back its cache: the handle may be any of the node's
   */
  int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address);

  /** Lets who has called write(2) go on before the write is done. */
  interface EarlyAnswer {
    /**
     * Answers the write with its whole size. At most once; what the write returns afterwards nobody
     * is told.
     */
    void give();
  }

  /** As the other one, which is called where a write cannot be answered early. */
  default int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address,
      EarlyAnswer early) {
    return write(node, handle, offset, size, openFlags, fromCache, address);
  }

  /** A descriptor of the file was closed; an error reaches close(2). */
  int flush(long node, long handle);

  /** The last descriptor of the open file description is gone. */
  void release(long node, long handle, int openFlags);

  int fsync(long node, long handle, boolean dataOnly);

  int fallocate(long node, long handle, int mode, long offset, long size);

  /** {@code whence}: SEEK_DATA or SEEK_HOLE; returns the offset or -errno. */
  long lseek(long node, long handle, long offset, int whence);

  /** Returns the bytes copied or -errno; EOPNOTSUPP makes the kernel copy by reads and writes. */
  long copyFileRange(
      long node, long handle, long offset, long toNode, long toHandle, long toOffset, long size);

  int opendir(long node, OpenResult out);

  /**
   * Gives entries from {@code cookie} on (0: from the start) to {@code out} until {@link
   * DirectoryOutput#add} refuses one. The cookie of an entry tells where to go on behind it, and
   * stays right while entries are unlinked, renamed and created.
   */
  int readdir(long node, long handle, long cookie, DirectoryOutput out);

  /**
   * As {@link #readdir}; each entry given with {@link DirectoryOutput#addPlus} counts as lookup.
   */
  int readdirplus(long node, long handle, long cookie, DirectoryOutput out);

  void releasedir(long node, long handle);

  int fsyncdir(long node, long handle, boolean dataOnly);

  int statfs(long node, Statfs out);

  /**
   * {@code syncfs(2)} on the mount. Kernels do not ask an ordinary FUSE mount for it (virtiofs and,
   * in newer ones, block-device mounts only): they answer success by themselves.
   */
  default int syncfs(long node) {
    return -Errno.ENOSYS;
  }

  /** Receives directory entries; a return of false means: full, the entry was not taken. */
  interface DirectoryOutput {
    /** {@code type}: the DT_ value, (mode &gt;&gt; 12) &amp; 15. */
    boolean add(String name, long ino, int type, long nextCookie);

    /** Whether an entry with a name of {@code nameSize} bytes would still be taken by addPlus. */
    boolean hasRoomPlus(int nameSize);

    boolean addPlus(String name, Entry entry, long nextCookie);
  }

  /** Attributes of a node ({@code struct fuse_attr}); reused by a worker, so set every field. */
  final class Attributes {
    public long ino;
    public long size;
    public long blocks;
    public long atime;
    public long mtime;
    public long ctime;
    public int atimeNanos;
    public int mtimeNanos;
    public int ctimeNanos;
    public int mode;
    public int nlink;
    public int uid;
    public int gid;
    public int rdev;
    public int blockSize;

    /** How long the kernel may trust these, in milliseconds. */
    public long validMillis;
  }

  /** A node found or made: its number, 0 for "no such name, and you may remember that". */
  final class Entry {
    public long node;
    public long generation;
    public long entryValidMillis;
    public final Attributes attributes = new Attributes();
  }

  /** Answer to open and create. */
  final class OpenResult {
    public long handle;

    /** No kernel page cache for this open file; its writes arrive as they were made. */
    public boolean directIo;

    /** Keep what the kernel has cached of this file. */
    public boolean keepCache;

    /** Writes to a direct-I/O file need not be serialised by the kernel. */
    public boolean parallelDirectWrites;

    /** Directories only: let the kernel cache the listing. */
    public boolean cacheDirectory;

    public void clear() {
      handle = 0;
      directIo = false;
      keepCache = false;
      parallelDirectWrites = false;
      cacheDirectory = false;
    }
  }

  /** What setattr changes: {@link #valid} tells which fields count. */
  final class SetAttributes {
    public static final int MODE = 1;
    public static final int UID = 1 << 1;
    public static final int GID = 1 << 2;
    public static final int SIZE = 1 << 3;
    public static final int ATIME = 1 << 4;
    public static final int MTIME = 1 << 5;
    public static final int ATIME_NOW = 1 << 7;
    public static final int MTIME_NOW = 1 << 8;
    public static final int CTIME = 1 << 10;

    public int valid;
    public int mode;
    public int uid;
    public int gid;
    public long size;
    public long atime;
    public long mtime;
    public long ctime;
    public int atimeNanos;
    public int mtimeNanos;
    public int ctimeNanos;
  }

  /** Answer to statfs; block counts in units of {@link #fragmentSize} bytes. */
  final class Statfs {
    public long blocks;
    public long blocksFree;
    public long blocksAvailable;
    public long files;
    public long filesFree;
    public int blockSize;
    public int fragmentSize;
    public int nameMax;
  }
}
