package io.pgveil.fuse;

import org.jspecify.annotations.Nullable;

/**
 * Numbers of the Linux FUSE kernel protocol (include/uapi/linux/fuse.h): operation codes, flags,
 * structure sizes in bytes. All integers of the protocol are in the byte order of the host, which
 * is little-endian on the machines we serve.
 */
final class Protocol {
  static final int MAJOR = 7;

  /** The oldest minor version that is served. */
  static final int MINOR_OLDEST = 31;

  /** The newest minor version whose structures are known here. */
  static final int MINOR_NEWEST = 38;

  static final int LOOKUP = 1;
  static final int FORGET = 2;
  static final int GETATTR = 3;
  static final int SETATTR = 4;
  static final int READLINK = 5;
  static final int SYMLINK = 6;
  static final int MKNOD = 8;
  static final int MKDIR = 9;
  static final int UNLINK = 10;
  static final int RMDIR = 11;
  static final int RENAME = 12;
  static final int LINK = 13;
  static final int OPEN = 14;
  static final int READ = 15;
  static final int WRITE = 16;
  static final int STATFS = 17;
  static final int RELEASE = 18;
  static final int FSYNC = 20;
  static final int FLUSH = 25;
  static final int INIT = 26;
  static final int OPENDIR = 27;
  static final int READDIR = 28;
  static final int RELEASEDIR = 29;
  static final int FSYNCDIR = 30;
  static final int CREATE = 35;
  static final int INTERRUPT = 36;
  static final int DESTROY = 38;
  static final int IOCTL = 39;
  static final int NOTIFY_REPLY = 41;
  static final int BATCH_FORGET = 42;
  static final int FALLOCATE = 43;
  static final int READDIRPLUS = 44;
  static final int RENAME2 = 45;
  static final int LSEEK = 46;
  static final int COPY_FILE_RANGE = 47;
  static final int SYNCFS = 50;

  /** One more than the highest operation code that is counted by its own name. */
  static final int OPCODES = 54;

  private static final @Nullable String[] NAMES = new String[OPCODES];

  static {
    String[] names = {
      "other",
      "LOOKUP",
      "FORGET",
      "GETATTR",
      "SETATTR",
      "READLINK",
      "SYMLINK",
      null,
      "MKNOD",
      "MKDIR",
      "UNLINK",
      "RMDIR",
      "RENAME",
      "LINK",
      "OPEN",
      "READ",
      "WRITE",
      "STATFS",
      "RELEASE",
      null,
      "FSYNC",
      "SETXATTR",
      "GETXATTR",
      "LISTXATTR",
      "REMOVEXATTR",
      "FLUSH",
      "INIT",
      "OPENDIR",
      "READDIR",
      "RELEASEDIR",
      "FSYNCDIR",
      "GETLK",
      "SETLK",
      "SETLKW",
      "ACCESS",
      "CREATE",
      "INTERRUPT",
      "BMAP",
      "DESTROY",
      "IOCTL",
      "POLL",
      "NOTIFY_REPLY",
      "BATCH_FORGET",
      "FALLOCATE",
      "READDIRPLUS",
      "RENAME2",
      "LSEEK",
      "COPY_FILE_RANGE",
      "SETUPMAPPING",
      "REMOVEMAPPING",
      "SYNCFS",
      "TMPFILE",
      "STATX",
      "COPY_FILE_RANGE_64"
    };
    System.arraycopy(names, 0, NAMES, 0, OPCODES);
  }

  static final int INIT_ASYNC_READ = 1;
  static final int INIT_BIG_WRITES = 1 << 5;
  static final int INIT_DO_READDIRPLUS = 1 << 13;
  static final int INIT_READDIRPLUS_AUTO = 1 << 14;
  static final int INIT_ASYNC_DIO = 1 << 15;
  static final int INIT_WRITEBACK_CACHE = 1 << 16;
  static final int INIT_PARALLEL_DIROPS = 1 << 18;
  static final int INIT_MAX_PAGES = 1 << 22;

  /** There are more flags, in a word of their own. */
  static final int INIT_EXTENDED = 1 << 30;

  /** In the second word: requests go through rings as soon as every queue has an entry. */
  static final int INIT2_OVER_IO_URING = 1 << 9;

  static final int OPEN_DIRECT_IO = 1;
  static final int OPEN_KEEP_CACHE = 1 << 1;
  static final int OPEN_CACHE_DIR = 1 << 3;
  static final int OPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

  static final int GETATTR_HANDLE = 1;
  static final int SETATTR_HANDLE = 1 << 6;
  static final int WRITE_FROM_CACHE = 1;
  static final int FSYNC_DATA_ONLY = 1;

  static final int NOTIFY_INVALIDATE_INODE = 2;
  static final int NOTIFY_INVALIDATE_ENTRY = 3;

  static final int IN_HEADER_SIZE = 40;
  static final int OUT_HEADER_SIZE = 16;
  static final int WRITE_IN_SIZE = 40;
  static final int INIT_OUT_SIZE = 64;
  static final int ATTRIBUTES_SIZE = 88;
  static final int ATTRIBUTES_OUT_SIZE = 16 + ATTRIBUTES_SIZE;
  static final int ENTRY_OUT_SIZE = 40 + ATTRIBUTES_SIZE;
  static final int OPEN_OUT_SIZE = 16;
  static final int STATFS_OUT_SIZE = 80;
  static final int DIRENT_SIZE = 24;

  /** The page that request payloads and {@code max_pages} are counted in. */
  static final int PAGE = 4096;

  /** {@code FUSE_DEV_IOC_CLONE}: a second queue of the same connection. */
  static final long IOCTL_CLONE = 0x8004E500L;

  private Protocol() {}

  /** The name of an operation, null if it is not known. */
  static @Nullable String name(int opcode) {
    return opcode >= 0 && opcode < OPCODES ? NAMES[opcode] : null;
  }

  /** Bytes of the fixed part behind the header that a request must at least have. */
  static int argumentSize(int opcode) {
    return switch (opcode) {
      case FORGET, MKDIR, RENAME, LINK, OPEN, OPENDIR, BATCH_FORGET -> 8;
      case GETATTR, MKNOD, FSYNC, FSYNCDIR, CREATE, RENAME2, INIT -> 16;
      case RELEASE, RELEASEDIR, FLUSH, LSEEK -> 24;
      case FALLOCATE -> 32;
      case READ, READDIR, READDIRPLUS, WRITE -> 40;
      case COPY_FILE_RANGE -> 56;
      case SETATTR -> 88;
      default -> 0;
    };
  }
}
