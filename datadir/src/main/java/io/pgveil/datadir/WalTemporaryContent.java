package io.pgveil.datadir;

import io.pgveil.ciphers.SealedCipher;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.util.Arrays;

/**
 * A WAL file in the making ({@code xlogtemp.*}, {@code RECOVERYXLOG}): no header, sizes equal, zero
 * units raw, other 512-byte units XTS under a key in memory. PostgreSQL throws such files away
 * after a crash, so nothing need be readable then; what becomes a real WAL file is transcoded when
 * it is renamed. The bytes of a last unit that is not whole stay in memory and are zeros on disk.
 */
final class WalTemporaryContent extends Content {
  private static final int UNIT = 512;

  private final CipherPool<SealedCipher> ciphers;
  private final byte[] tail = new byte[UNIT];
  private boolean holdsData;

  /** Set while the file may hold what an earlier run of the daemon wrote, under a key now lost. */
  private boolean lost;

  /**
   * @param readable false if the file is older than its key in memory: what is not zero is lost
   */
  WalTemporaryContent(
      Backing backing, int fd, long size, CipherPool<SealedCipher> ciphers, boolean readable) {
    super(backing, fd);
    this.size = size;
    this.ciphers = ciphers;
    this.holdsData = !readable;
    this.lost = !readable;
  }

  /** Whether any byte but zero was ever written. */
  boolean holdsData() {
    return holdsData;
  }

  private long tailStart() {
    return size - size % UNIT;
  }

  @Override
  int read(long offset, int count, long address) {
    long end = Math.min(offset + count, size);
    if (offset >= end) {
      return 0;
    }
    Scratch s = Scratch.get();
    SealedCipher cipher = ciphers.take();
    try {
      long at = offset;
      while (at < end) {
        long first = at - at % UNIT;
        int length = (int) (Math.min(first + Scratch.CHUNK, roundUp(end)) - first);
        int r = readUnits(cipher, first, length, 0, s);
        if (r < 0) {
          return r;
        }
        int take = (int) (Math.min(end, first + length) - at);
        Memory.copyIn(s.bytes, (int) (at - first), address + (at - offset), take);
        at += take;
      }
      return (int) (end - offset);
    } finally {
      ciphers.giveBack(cipher);
    }
  }

  private int readUnits(SealedCipher cipher, long first, int length, int index, Scratch s) {
    long got = backing.pread(fd, s.io, length, first);
    if (got < 0) {
      return (int) got;
    }
    if (lost && !Memory.isZero(s.io, got)) {
      return -Errno.EIO;
    }
    Memory.fill(s.io + got, length - got, 0);
    Memory.copyOut(s.io, s.bytes, index, length);
    cipher.decrypt(first / UNIT, s.bytes, index, length / UNIT, s.bytes, index);
    long t = tailStart();
    if (t >= first && t < first + length) {
      System.arraycopy(tail, 0, s.bytes, index + (int) (t - first), UNIT);
    }
    return 0;
  }

  @Override
  int write(long offset, int count, long address) {
    byte[] before = tail.clone();
    long sizeBefore = size;
    int r = writeUnits(offset, count, address);
    if (r < 0 && size == sizeBefore) {
      System.arraycopy(before, 0, tail, 0, UNIT);
    }
    Arrays.fill(before, (byte) 0);
    return r;
  }

  private int writeUnits(long offset, int count, long address) {
    Scratch s = Scratch.get();
    SealedCipher cipher = ciphers.take();
    try {
      long end = offset + count;
      long newSize = Math.max(size, end);
      long at = offset;
      holdsData |= !Memory.isZero(address, count);
      if (newSize > size) {
        int r = flushTail(cipher, newSize, s);
        if (r < 0) {
          return r;
        }
      }
      while (at < end) {
        long first = at - at % UNIT;
        long stop = Math.min(end, first + Scratch.CHUNK);
        int length = (int) (roundUp(stop) - first);
        int r = readUnits(cipher, first, UNIT, 0, s);
        if (r >= 0 && length > UNIT) {
          r = readUnits(cipher, first + length - UNIT, UNIT, length - UNIT, s);
        }
        if (r < 0) {
          return r;
        }
        Memory.copyOut(address + (at - offset), s.bytes, (int) (at - first), (int) (stop - at));
        r = storeUnits(cipher, first, length, Math.max(size, stop), s);
        if (r < 0) {
          return r;
        }
        at = stop;
      }
      return count;
    } finally {
      ciphers.giveBack(cipher);
    }
  }

  /** Writes units whole; a last one that the new end cuts goes to memory. */
  private int storeUnits(SealedCipher cipher, long first, int length, long newSize, Scratch s) {
    long t = newSize - newSize % UNIT;
    int whole = (int) Math.min(length, Math.max(0, t - first));
    int cut = (int) Math.min(length - whole, newSize - (first + whole));
    if (cut > 0) {
      Arrays.fill(tail, (byte) 0);
      System.arraycopy(s.bytes, whole, tail, 0, cut);
      Arrays.fill(s.bytes, whole, whole + UNIT, (byte) 0);
    }
    int run = 0;
    while (run < whole) {
      // zero units stay raw zeros, the others are encrypted in runs
      int from = run;
      boolean zero = Memory.isZero(s.bytes, run, UNIT);
      while (run < whole && Memory.isZero(s.bytes, run, UNIT) == zero) {
        run += UNIT;
      }
      if (!zero
          && !cipher.encrypt(
              (first + from) / UNIT, s.bytes, from, (run - from) / UNIT, s.bytes, from)) {
        return -Errno.EIO;
      }
    }
    int total = whole + Math.max(0, cut);
    Memory.copyIn(s.bytes, 0, s.io, total);
    long w = backing.pwrite(fd, s.io, total, first);
    if (w < 0) {
      return (int) w;
    }
    size = newSize;
    return 0;
  }

  private int flushTail(SealedCipher cipher, long newSize, Scratch s) {
    long t = tailStart();
    if (size == t || newSize - newSize % UNIT == t) {
      return 0;
    }
    System.arraycopy(tail, 0, s.bytes, 0, UNIT);
    Arrays.fill(tail, (byte) 0);
    return storeUnits(cipher, t, UNIT, t + UNIT > newSize ? newSize : t + UNIT, s);
  }

  @Override
  int truncate(long newSize) {
    Scratch s = Scratch.get();
    SealedCipher cipher = ciphers.take();
    try {
      int r = 0;
      if (newSize > size) {
        r = flushTail(cipher, newSize, s);
      } else if (newSize < size) {
        long t = newSize - newSize % UNIT;
        r = newSize == t ? 0 : readUnits(cipher, t, UNIT, 0, s);
        if (r >= 0) {
          Arrays.fill(tail, (byte) 0);
          System.arraycopy(s.bytes, 0, tail, 0, (int) (newSize - t));
          r = backing.ftruncate(fd, t);
        }
      }
      if (r >= 0) {
        r = backing.ftruncate(fd, newSize);
      }
      if (r >= 0) {
        size = newSize;
        if (newSize == 0) {
          holdsData = false;
          lost = false;
        }
      }
      return r;
    } finally {
      ciphers.giveBack(cipher);
    }
  }

  @Override
  int allocate(int mode, long offset, long count) {
    if (mode != 0) {
      return -Errno.EOPNOTSUPP;
    }
    if (offset + count > size) {
      int r = truncate(offset + count);
      if (r < 0) {
        return r;
      }
    }
    return backing.fallocate(fd, 0, offset, count);
  }

  @Override
  long seek(long offset, int whence) {
    if (offset >= size) {
      return -Errno.ENXIO;
    }
    return whence == Posix.SEEK_DATA ? offset : size;
  }

  /** The key lives as long as this object. */
  @Override
  boolean mustStayOpen() {
    return holdsData;
  }

  @Override
  void close() {
    Arrays.fill(tail, (byte) 0);
    ciphers.close();
  }

  private static long roundUp(long offset) {
    return (offset + UNIT - 1) / UNIT * UNIT;
  }
}
