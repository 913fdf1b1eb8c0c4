package io.pgveil.datadir;

import io.pgveil.linux.Errno;

/** A key file below {@code pg_tde/}, shown as it is and never changed through the mount. */
final class KeyFileContent extends Content {

  KeyFileContent(Backing backing, int fd, long size) {
    super(backing, fd);
    this.size = size;
  }

  @Override
  int read(long offset, int count, long address) {
    return (int) backing.pread(fd, address, count, offset);
  }

  @Override
  int write(long offset, int count, long address) {
    return -Errno.EROFS;
  }

  @Override
  int truncate(long newSize) {
    return -Errno.EROFS;
  }

  @Override
  int allocate(int mode, long offset, long count) {
    return -Errno.EROFS;
  }

  @Override
  long seek(long offset, int whence) {
    return seekShifted(offset, whence, 0);
  }

  @Override
  void close() {}
}
