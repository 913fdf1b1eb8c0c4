package io.pgveil.datadir;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;

/**
 * The clear content of one open file over its backing descriptor. One object per inode, whatever
 * the number of open descriptors.
 *
 * <p>Locking: the caller holds the node's content lock, shared for {@link #read} and {@link #seek},
 * exclusive for everything else. Offsets and sizes are clear bytes unless a name says cipher.
 * Results are counts or -errno.
 */
abstract class Content {
  final Backing backing;
  final int fd;

  /** Clear length in bytes. Written under the exclusive content lock. */
  volatile long size;

  Content(Backing backing, int fd) {
    this.backing = backing;
    this.fd = fd;
  }

  /** Reads at most {@code count} bytes to {@code address}. */
  abstract int read(long offset, int count, long address);

  /** Writes all {@code count} bytes or fails. */
  abstract int write(long offset, int count, long address);

  /**
   * As {@link #write(long, int, long)}; calls {@code begun} if the caller may go on as soon as that
   * returns: this write comes before every later one of any file, needs no more room, and {@code
   * address} is read later.
   */
  int write(long offset, int count, long address, Runnable begun) {
    return write(offset, count, address);
  }

  abstract int truncate(long newSize);

  /** {@code mode} as for fallocate(2). */
  abstract int allocate(int mode, long offset, long count);

  /** {@code whence} is SEEK_DATA or SEEK_HOLE. */
  abstract long seek(long offset, int whence);

  /** Brings to the backing file what waits in memory. Exclusive content lock. */
  int flush() {
    return 0;
  }

  /** Whether {@link #flush} has anything to do. */
  boolean hasDeferred() {
    return false;
  }

  /** Whether something is known that would be lost with the descriptor. */
  boolean mustStayOpen() {
    return false;
  }

  /** What must be durable before the backing file may be called synced. */
  int beforeSync() {
    return 0;
  }

  /** Forgets keys; the descriptor is not ours to close. */
  abstract void close();

  /** Clear size after a failed change: what the backing file says now. */
  final long backingSize(Scratch s) {
    int r = backing.fstat(fd, s.stat2);
    return r < 0 ? -1 : s.stat2.size;
  }

  /** Seek for files whose clear and cipher offsets differ by {@code shift}. */
  final long seekShifted(long offset, int whence, long shift) {
    if (offset >= size) {
      return -Errno.ENXIO;
    }
    long r = backing.lseek(fd, offset + shift, whence);
    if (r < 0) {
      return r;
    }
    r = Math.max(offset, r - shift);
    if (whence == Posix.SEEK_DATA && r >= size) {
      return -Errno.ENXIO;
    }
    return Math.min(r, size);
  }
}
