package io.pgveil.datadir;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Stat;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** The file system below, which writes down what it is asked to change and fails when told to. */
final class RecordingBacking extends Backing {
  /**
   * One change.
   *
   * @param what name of the call
   * @param path of the file, as it was opened; for a rename the old path
   * @param to the new path of a rename or link, otherwise empty
   */
  record Call(String what, String path, String to, long offset, byte[] bytes) {
    boolean is(String call, String file) {
      return what.equals(call) && path.equals(file);
    }

    boolean isZero() {
      return Memory.isZero(bytes, 0, bytes.length);
    }

    @Override
    public String toString() {
      return what + " " + path + (to.isEmpty() ? "" : " -> " + to) + " @" + offset;
    }
  }

  final List<Call> calls = new ArrayList<>(); // guarded by itself
  private final Map<Integer, String> open = new ConcurrentHashMap<>();
  private volatile Predicate<Call> fails = c -> false;
  private volatile int errno = Errno.EIO;

  /** Called before each change. */
  volatile Consumer<Call> before = c -> {};

  /** Called after each unlink, before the data directory knows. */
  volatile Runnable afterUnlink = () -> {};

  volatile boolean recording = true;

  /** From now on every call that {@code which} accepts fails with {@code error}. */
  void failWith(int error, Predicate<Call> which) {
    errno = error;
    fails = which;
  }

  void work() {
    fails = c -> false;
  }

  /** Fails the n-th (from 1) of the calls that {@code which} accepts, once. */
  static Predicate<Call> nth(int n, Predicate<Call> which) {
    int[] seen = {0};
    return c -> which.test(c) && ++seen[0] == n;
  }

  List<Call> recorded(Predicate<Call> which) {
    synchronized (calls) {
      return calls.stream().filter(which).toList();
    }
  }

  void clear() {
    synchronized (calls) {
      calls.clear();
    }
  }

  private int note(String what, @Nullable String path, String to, long offset, byte[] bytes) {
    Call c = new Call(what, path == null ? "?" : path, to, offset, bytes);
    if (fails.test(c)) {
      return -errno;
    }
    before.accept(c);
    if (recording) {
      synchronized (calls) {
        calls.add(c);
      }
    }
    return 0;
  }

  private int note(String what, @Nullable String path) {
    return note(what, path, "", 0, new byte[0]);
  }

  @Override
  public int openat(int dirFd, String path, int flags, int mode) {
    int e = note("open", path);
    int fd = e < 0 ? e : super.openat(dirFd, path, flags, mode);
    if (fd >= 0) {
      open.put(fd, path);
    }
    return fd;
  }

  @Override
  public int close(int fd) {
    open.remove(fd);
    return super.close(fd);
  }

  @Override
  public long pread(int fd, long address, long size, long offset) {
    int e =
        fails.test(new Call("pread", String.valueOf(open.get(fd)), "", offset, new byte[0]))
            ? -errno
            : 0;
    return e < 0 ? e : super.pread(fd, address, size, offset);
  }

  @Override
  public long pwrite(int fd, long address, long size, long offset) {
    byte[] bytes = new byte[(int) size];
    Memory.copyOut(address, bytes, 0, bytes.length);
    int e = note("pwrite", open.get(fd), "", offset, bytes);
    return e < 0 ? e : super.pwrite(fd, address, size, offset);
  }

  @Override
  public int ftruncate(int fd, long size) {
    int e = note("ftruncate", open.get(fd), "", size, new byte[0]);
    return e < 0 ? e : super.ftruncate(fd, size);
  }

  @Override
  public int fallocate(int fd, int mode, long offset, long size) {
    int e = note("fallocate", open.get(fd), "", offset, new byte[0]);
    return e < 0 ? e : super.fallocate(fd, mode, offset, size);
  }

  @Override
  public int fsync(int fd) {
    int e = note("fsync", open.get(fd));
    return e < 0 ? e : super.fsync(fd);
  }

  @Override
  public int fdatasync(int fd) {
    int e = note("fdatasync", open.get(fd));
    return e < 0 ? e : super.fdatasync(fd);
  }

  @Override
  public int syncfs(int fd) {
    return note("syncfs", "");
  }

  @Override
  public int fstat(int fd, Stat out) {
    return super.fstat(fd, out);
  }

  @Override
  public int mkdirat(int dirFd, String path, int mode) {
    int e = note("mkdir", path);
    return e < 0 ? e : super.mkdirat(dirFd, path, mode);
  }

  @Override
  public int symlinkat(String target, int dirFd, String path) {
    int e = note("symlink", path);
    return e < 0 ? e : super.symlinkat(target, dirFd, path);
  }

  @Override
  public int linkat(int dirFd, String from, String to) {
    int e = note("link", from, to, 0, new byte[0]);
    return e < 0 ? e : super.linkat(dirFd, from, to);
  }

  @Override
  public int unlinkat(int dirFd, String path, int flags) {
    int e = note("unlink", path);
    int r = e < 0 ? e : super.unlinkat(dirFd, path, flags);
    afterUnlink.run();
    return r;
  }

  @Override
  public int renameat(int dirFd, String from, String to, int flags) {
    int e = note("rename", from, to, 0, new byte[0]);
    return e < 0 ? e : super.renameat(dirFd, from, to, flags);
  }
}
