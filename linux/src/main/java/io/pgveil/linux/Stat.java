package io.pgveil.linux;

/**
 * The result of {@code statx(2)}, reusable.
 *
 * <p>Times are seconds and nanoseconds since the epoch; {@code blocks} counts 512-byte units.
 */
public final class Stat {
  public static final int S_IFMT = 0170000;
  public static final int S_IFSOCK = 0140000;
  public static final int S_IFLNK = 0120000;
  public static final int S_IFREG = 0100000;
  public static final int S_IFDIR = 0040000;

  /** Size of {@code struct statx} in bytes. */
  static final int STATX_SIZE = 256;

  public int mode;
  public int nlink;
  public int uid;
  public int gid;
  public long dev;
  public long ino;
  public long size;
  public long blocks;
  public int blockSize;
  public int rdev;
  public long atime;
  public int atimeNanos;
  public long mtime;
  public int mtimeNanos;
  public long ctime;
  public int ctimeNanos;

  public boolean isDirectory() {
    return (mode & S_IFMT) == S_IFDIR;
  }

  public boolean isRegular() {
    return (mode & S_IFMT) == S_IFREG;
  }

  public boolean isSymbolicLink() {
    return (mode & S_IFMT) == S_IFLNK;
  }

  /** Reads {@code struct statx} (linux/stat.h) at {@code address}. */
  void readFrom(long address) {
    blockSize = Memory.getInt(address + 4);
    nlink = Memory.getInt(address + 16);
    uid = Memory.getInt(address + 20);
    gid = Memory.getInt(address + 24);
    mode = Memory.getShort(address + 28);
    ino = Memory.getLong(address + 32);
    size = Memory.getLong(address + 40);
    blocks = Memory.getLong(address + 48);
    atime = Memory.getLong(address + 64);
    atimeNanos = Memory.getInt(address + 72);
    ctime = Memory.getLong(address + 96);
    ctimeNanos = Memory.getInt(address + 104);
    mtime = Memory.getLong(address + 112);
    mtimeNanos = Memory.getInt(address + 120);
    rdev = (Memory.getInt(address + 128) << 8) | Memory.getInt(address + 132);
    dev = ((long) Memory.getInt(address + 136) << 32) | Memory.getInt(address + 140);
  }
}
