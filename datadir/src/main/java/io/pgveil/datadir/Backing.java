package io.pgveil.datadir;

import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;

/**
 * The file system below: every change that the data directory makes to the cipher directory goes
 * through one object of this class, so that a test can record it or make it fail.
 *
 * <p>Results are values or -errno; paths are byte strings relative to a directory descriptor.
 */
public class Backing {

  public int openat(int dirFd, String path, int flags, int mode) {
    return Posix.openat(dirFd, path, flags, mode);
  }

  public int close(int fd) {
    return Posix.close(fd);
  }

  public long pread(int fd, long address, long size, long offset) {
    return Posix.pread(fd, address, size, offset);
  }

  public long pwrite(int fd, long address, long size, long offset) {
    return Posix.pwrite(fd, address, size, offset);
  }

  public int ftruncate(int fd, long size) {
    return Posix.ftruncate(fd, size);
  }

  public int fallocate(int fd, int mode, long offset, long size) {
    return Posix.fallocate(fd, mode, offset, size);
  }

  public long lseek(int fd, long offset, int whence) {
    return Posix.lseek(fd, offset, whence);
  }

  public int fsync(int fd) {
    return Posix.fsync(fd);
  }

  public int fdatasync(int fd) {
    return Posix.fdatasync(fd);
  }

  public int startWriteback(int fd) {
    return Posix.startWriteback(fd);
  }

  public int syncfs(int fd) {
    return Posix.syncfs(fd);
  }

  public int fstat(int fd, Stat out) {
    return Posix.fstat(fd, out);
  }

  public int statat(int dirFd, String path, Stat out) {
    return Posix.statat(dirFd, path, out);
  }

  public int mkdirat(int dirFd, String path, int mode) {
    return Posix.mkdirat(dirFd, path, mode);
  }

  public int mknodat(int dirFd, String path, int mode, int rdev) {
    return Posix.mknodat(dirFd, path, mode, rdev);
  }

  public int symlinkat(String target, int dirFd, String path) {
    return Posix.symlinkat(target, dirFd, path);
  }

  public int linkat(int dirFd, String from, String to) {
    return Posix.linkat(dirFd, from, dirFd, to, 0);
  }

  public int unlinkat(int dirFd, String path, int flags) {
    return Posix.unlinkat(dirFd, path, flags);
  }

  public int renameat(int dirFd, String from, String to, int flags) {
    return Posix.renameat(dirFd, from, dirFd, to, flags);
  }
}
