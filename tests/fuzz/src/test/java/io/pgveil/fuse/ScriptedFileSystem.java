package io.pgveil.fuse;

import io.pgveil.fuzz.Violation;
import io.pgveil.linux.Memory;

/**
 * Answers what a script of 8 bits says, good and bad, and sees to it that what it is asked is sane
 * whatever the kernel has sent. The same script gives the same answer.
 */
final class ScriptedFileSystem implements FileSystem {
  private static final int[] RESULTS = {
    0, 0, 0, 0, -2, -5, -28, -511, -512, Integer.MIN_VALUE, Integer.MAX_VALUE, 1, 4096, 8192, 8193
  };

  private final long out;
  private final int capacity;
  private int script;
  private long request;
  private long requestEnd;

  ScriptedFileSystem(long out, int capacity) {
    this.out = out;
    this.capacity = capacity;
  }

  void begin(int byThis, long at, int size) {
    script = byThis;
    request = at;
    requestEnd = at + size;
  }

  private static void name(String name) {
    Violation.unless(
        !name.isEmpty()
            && !name.equals(".")
            && !name.equals("..")
            && name.indexOf('/') < 0
            && name.indexOf(0) < 0,
        "a name that is none: " + name);
  }

  private int result() {
    if (script == 255) {
      throw new IllegalStateException("as the script says");
    }
    if (script == 254) {
      throw new StackOverflowError("as the script says");
    }
    return RESULTS[script % RESULTS.length];
  }

  private void fill(Attributes a) {
    a.ino = 7;
    a.size = (long) script << 40;
    a.mode = script * 257;
    a.validMillis = script % 3 == 0 ? Long.MAX_VALUE : 1500;
    a.blocks = -1;
    a.atime = 1;
    a.mtime = Long.MIN_VALUE;
    a.ctime = 3;
    a.atimeNanos = 4;
    a.mtimeNanos = 5;
    a.ctimeNanos = 6;
    a.nlink = 7;
    a.uid = 8;
    a.gid = 9;
    a.rdev = 10;
    a.blockSize = 4096;
  }

  private int entry(Entry e) {
    int result = result();
    if (result >= 0) {
      e.node = script % 4 == 0 ? 0 : 99;
      e.generation = 1;
      e.entryValidMillis = 999;
      fill(e.attributes);
    }
    return result;
  }

  private int opened(OpenResult o) {
    o.handle = script;
    o.directIo = (script & 1) != 0;
    o.keepCache = (script & 2) != 0;
    o.parallelDirectWrites = (script & 4) != 0;
    o.cacheDirectory = (script & 8) != 0;
    return result();
  }

  @Override
  public int lookup(long parent, String name, Entry e) {
    name(name);
    return entry(e);
  }

  @Override
  public void forget(long node, long count) {
    Violation.unless(count > 0, "forget of " + count);
  }

  @Override
  public int getattr(long node, long handle, Attributes a) {
    fill(a);
    return result();
  }

  @Override
  public int setattr(long node, long handle, SetAttributes in, Attributes a) {
    Violation.unless((in.valid & SetAttributes.SIZE) == 0 || in.size >= 0, "a negative size");
    nanos(in.valid & SetAttributes.ATIME, in.atimeNanos);
    nanos(in.valid & SetAttributes.MTIME, in.mtimeNanos);
    nanos(in.valid & SetAttributes.CTIME, in.ctimeNanos);
    fill(a);
    return result();
  }

  private static void nanos(int valid, int nanos) {
    Violation.unless(valid == 0 || (nanos >= 0 && nanos <= 999_999_999), "nanoseconds " + nanos);
  }

  @Override
  public int readlink(long node, long address, int size) {
    return put(address, size);
  }

  /** Writes as many bytes as the result says, if there is room for them. */
  private int put(long address, int size) {
    Violation.unless(
        size >= 0 && address >= out && address + size <= out + capacity, "no room for the data");
    int result = result();
    Memory.fill(address, Math.min(Math.max(0, result), size), 'x');
    return result;
  }

  @Override
  public int symlink(Caller caller, long parent, String name, String target, Entry e) {
    name(name);
    Violation.unless(!target.isEmpty() && target.indexOf(0) < 0, "a target that is none");
    return entry(e);
  }

  @Override
  public int mknod(Caller caller, long parent, String name, int mode, int rdev, Entry e) {
    name(name);
    return entry(e);
  }

  @Override
  public int mkdir(Caller caller, long parent, String name, int mode, Entry e) {
    name(name);
    return entry(e);
  }

  @Override
  public int unlink(long parent, String name) {
    name(name);
    return result();
  }

  @Override
  public int rmdir(long parent, String name) {
    name(name);
    return result();
  }

  @Override
  public int rename(long parent, String name, long newParent, String newName, int flags) {
    name(name);
    name(newName);
    return result();
  }

  @Override
  public int link(long node, long newParent, String newName, Entry e) {
    name(newName);
    return entry(e);
  }

  @Override
  public int open(Caller caller, long node, int flags, OpenResult o) {
    return opened(o);
  }

  @Override
  public int create(
      Caller caller, long parent, String name, int mode, int flags, Entry e, OpenResult o) {
    name(name);
    opened(o);
    return entry(e);
  }

  @Override
  public int read(long node, long handle, long offset, int size, int openFlags, long address) {
    Violation.unless(offset >= 0 && offset + size >= 0, "read at " + offset);
    return put(address, size);
  }

  @Override
  public int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address) {
    Violation.unless(offset >= 0 && offset + size >= 0, "write at " + offset);
    Violation.unless(
        size >= 0 && address >= request + 80 && address + size <= requestEnd,
        "data from outside of the request");
    return result();
  }

  /** As the other; the handle says whether it is answered early, whatever comes of it then. */
  @Override
  public int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address,
      EarlyAnswer early) {
    if ((handle & 1) != 0) {
      early.give();
    }
    return write(node, handle, offset, size, openFlags, fromCache, address);
  }

  @Override
  public int flush(long node, long handle) {
    return result();
  }

  @Override
  public void release(long node, long handle, int openFlags) {
    result();
  }

  @Override
  public int fsync(long node, long handle, boolean dataOnly) {
    return result();
  }

  @Override
  public int fallocate(long node, long handle, int mode, long offset, long size) {
    Violation.unless(offset >= 0 && size > 0 && offset + size >= 0, "fallocate at " + offset);
    return result();
  }

  @Override
  public long lseek(long node, long handle, long offset, int whence) {
    Violation.unless(offset >= 0 && (whence == 3 || whence == 4), "lseek at " + offset);
    return script % 2 == 0 ? result() : (long) result() << 31;
  }

  @Override
  public long copyFileRange(
      long node, long handle, long offset, long toNode, long toHandle, long toOffset, long size) {
    Violation.unless(
        offset >= 0 && toOffset >= 0 && size >= 0 && size <= Integer.MAX_VALUE, "copy of " + size);
    return script % 2 == 0 ? result() : (long) result() << 31;
  }

  @Override
  public int opendir(long node, OpenResult o) {
    return opened(o);
  }

  @Override
  public int readdir(long node, long handle, long cookie, DirectoryOutput d) {
    int n = 0;
    while (n < 2000 && d.add("n".repeat(1 + (script + n) % 255), n, 8, n + 1L)) {
      n++;
    }
    return result();
  }

  @Override
  public int readdirplus(long node, long handle, long cookie, DirectoryOutput d) {
    Entry e = new Entry();
    int n = 0;
    while (n < 2000) {
      String name = "n".repeat(1 + (script + n) % 255);
      boolean room = d.hasRoomPlus(name.length());
      e.node = n;
      fill(e.attributes);
      boolean taken = n % 3 == 0 ? d.add(name, n, 4, n + 1L) : d.addPlus(name, e, n + 1L);
      Violation.unless(room == taken, "room was promised");
      if (!taken) {
        break;
      }
      n++;
    }
    return result();
  }

  @Override
  public void releasedir(long node, long handle) {
    result();
  }

  @Override
  public int fsyncdir(long node, long handle, boolean dataOnly) {
    return result();
  }

  @Override
  public int statfs(long node, Statfs s) {
    s.blocks = script;
    s.nameMax = 255;
    return result();
  }
}
