package io.pgveil.datadir;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;

/**
 * One WAL segment file: a window on the {@link WalStream}. Clear and cipher sizes are equal; holes
 * and zero words read as zeros.
 */
final class WalContent extends Content {
  private static final int WORD = 8;

  private final WalStream stream;
  private final String name;
  private final WalFileName file;
  private volatile boolean closed;
  private volatile boolean beingRestored;

  WalContent(Backing backing, int fd, long size, WalStream stream, String name, WalFileName file) {
    super(backing, fd);
    this.size = size;
    this.stream = stream;
    this.name = name;
    this.file = file;
    if (stream.segmentSize() == 0) {
      stream.learnSegmentSize(size);
    }
  }

  String name() {
    return name;
  }

  int timeline() {
    return file.timeline();
  }

  long segmentNumber(int segmentSize) {
    return file.segmentNumber(segmentSize);
  }

  boolean isClosed() {
    return closed;
  }

  /**
   * Set while the content is copied from a temporary file. It lies under the ranges that govern its
   * place and begins none: later segments may be there already, acknowledged, and a range that
   * began here would take their keys away.
   */
  void setBeingRestored(boolean is) {
    beingRestored = is;
  }

  boolean isBeingRestored() {
    return beingRestored;
  }

  void refreshSize(Scratch s) {
    long n = backingSize(s);
    if (n >= 0) {
      size = n;
    }
  }

  @Override
  int read(long offset, int count, long address) {
    long end = Math.min(offset + count, size);
    if (offset >= end) {
      return 0;
    }
    int segmentSize = stream.segmentSize();
    if (segmentSize == 0) {
      stream.learnSegmentSize(size);
      segmentSize = stream.segmentSize();
    }
    Scratch s = Scratch.get();
    long at = offset;
    while (at < end) {
      long first = at - at % WORD;
      int want = (int) Math.min(Scratch.CHUNK, roundUp(end) - first);
      long got = backing.pread(fd, s.io, want, first);
      if (got < 0) {
        return (int) got;
      }
      int take = (int) (Math.min(end, first + got) - at);
      if (take <= 0) {
        break;
      }
      Memory.copyOut(s.io, s.bytes, 0, (int) got);
      if (segmentSize != 0) {
        stream.decode(timeline(), segmentNumber(segmentSize), first, s.bytes, 0, (int) got);
      } else if (!Memory.isZero(s.bytes, 0, (int) got)) {
        return -Errno.EIO;
      }
      Memory.copyIn(s.bytes, (int) (at - first), address + (at - offset), take);
      at += take;
    }
    return (int) (at - offset);
  }

  @Override
  int write(long offset, int count, long address) {
    return write(offset, count, address, () -> {});
  }

  @Override
  int write(long offset, int count, long address, Runnable begun) {
    return stream.write(this, offset, count, address, begun);
  }

  @Override
  int truncate(long newSize) {
    int r = newSize > size ? stream.beforeGrowth(this, newSize) : 0;
    if (r >= 0 && newSize < size && newSize % WORD != 0) {
      r = cutWord(newSize);
    }
    if (r >= 0) {
      r = backing.ftruncate(fd, newSize);
    }
    if (r >= 0 && newSize > size) {
      r = stream.afterGrowth(this, newSize);
    }
    if (r >= 0) {
      size = newSize;
      stream.forget(this);
    }
    return r;
  }

  /** Encodes the word that the new end will cut byte by byte, as a reader will decode it. */
  private int cutWord(long newSize) {
    Scratch s = Scratch.get();
    int part = (int) (newSize % WORD);
    byte[] word = new byte[WORD];
    long start = newSize - part;
    long got = backing.pread(fd, s.io, Math.min(WORD, size - start), start);
    if (got < 0) {
      return (int) got;
    }
    Memory.copyOut(s.io, word, 0, (int) got);
    stream.decode(timeline(), segmentNumber(stream.segmentSize()), start, word, 0, (int) got);
    stream.decode(timeline(), segmentNumber(stream.segmentSize()), start, word, 0, part);
    Memory.copyIn(word, 0, s.io, part);
    return (int) Math.min(0, backing.pwrite(fd, s.io, part, start));
  }

  @Override
  int allocate(int mode, long offset, long count) {
    if (mode != 0 && mode != Posix.FALLOC_FL_KEEP_SIZE) {
      return -Errno.EOPNOTSUPP;
    }
    boolean grows = mode == 0 && offset + count > size;
    int r = grows ? stream.beforeGrowth(this, offset + count) : 0;
    if (r >= 0) {
      r = backing.fallocate(fd, mode, offset, count);
    }
    if (r >= 0 && grows) {
      r = stream.afterGrowth(this, offset + count);
    }
    if (r >= 0 && grows) {
      size = Math.max(size, offset + count);
    }
    return r;
  }

  @Override
  long seek(long offset, int whence) {
    return seekShifted(offset, whence, 0);
  }

  /** The page written last will be finished, or written again: what it holds must be known then. */
  @Override
  boolean mustStayOpen() {
    return stream.wroteLastTo(this);
  }

  @Override
  void close() {
    closed = true;
    stream.forget(this);
  }

  private static long roundUp(long offset) {
    return (offset + WORD - 1) / WORD * WORD;
  }
}
