package io.pgveil.tests.support;

import io.pgveil.datadir.Backing;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiPredicate;

/** The file system below a cluster, which refuses what it is told to. */
public final class FaultyBacking extends Backing {
  /** What can be refused. */
  public enum Call {
    WRITE,
    GROW,
    SYNC
  }

  private final Map<Integer, String> paths = new ConcurrentHashMap<>();
  private final AtomicInteger refused = new AtomicInteger();
  private volatile BiPredicate<Call, String> which = (call, path) -> false;
  private volatile int errno;

  /** From now on calls on paths in the cipher directory that {@code which} accepts fail. */
  public void refuse(int with, BiPredicate<Call, String> calls) {
    errno = with;
    which = calls;
  }

  public void work() {
    which = (call, path) -> false;
  }

  public int refused() {
    return refused.get();
  }

  private int fault(Call call, int fd) {
    if (!which.test(call, paths.getOrDefault(fd, ""))) {
      return 0;
    }
    refused.incrementAndGet();
    return -errno;
  }

  @Override
  public int openat(int dirFd, String path, int flags, int mode) {
    int fd = super.openat(dirFd, path, flags, mode);
    if (fd >= 0) {
      paths.put(fd, path);
    }
    return fd;
  }

  @Override
  public int close(int fd) {
    paths.remove(fd);
    return super.close(fd);
  }

  @Override
  public long pwrite(int fd, long address, long size, long offset) {
    int e = fault(Call.WRITE, fd);
    return e < 0 ? e : super.pwrite(fd, address, size, offset);
  }

  @Override
  public int ftruncate(int fd, long size) {
    int e = size == 0 ? 0 : fault(Call.GROW, fd);
    return e < 0 ? e : super.ftruncate(fd, size);
  }

  @Override
  public int fallocate(int fd, int mode, long offset, long size) {
    int e = fault(Call.GROW, fd);
    return e < 0 ? e : super.fallocate(fd, mode, offset, size);
  }

  @Override
  public int fsync(int fd) {
    int e = fault(Call.SYNC, fd);
    return e < 0 ? e : super.fsync(fd);
  }

  @Override
  public int fdatasync(int fd) {
    int e = fault(Call.SYNC, fd);
    return e < 0 ? e : super.fdatasync(fd);
  }
}
