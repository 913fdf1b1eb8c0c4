package io.pgveil.datadir;

import io.pgveil.ciphers.SealedCipher;
import io.pgveil.ciphers.SealedLayout;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.lang.foreign.Arena;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A sealed file: a write-once header of 4096 bytes, then 512-byte XTS units, then 512 bytes of
 * slack (docs/decisions/0003). The clear length is the size on disk less 4608.
 *
 * <p>Order of durability: the header is synced before the first byte of data is written, because
 * write-back may persist data and size but no header, and a file without a header is lost. The
 * decoder never depends on the length, so either order of size and data is safe.
 */
final class SealedContent extends Content {
  private static final Logger log = LoggerFactory.getLogger(SealedContent.class);

  private static final int UNIT = SealedLayout.UNIT;
  private static final int HEADER = SealedLayout.HEADER;
  private static final int OVERHEAD = SealedLayout.HEADER + SealedLayout.SLACK;

  /** Where the keys of sealed files come from. */
  interface Keys {
    /** Makes a header and its file key for a file that gets its first byte. */
    NewFile newFile() throws DataDirectoryException;

    /** The file key (64 bytes, the caller clears it) of the file with this header. */
    byte[] fileKey(byte[] header) throws DataDirectoryException;
  }

  /**
   * @param header 4096 bytes
   * @param fileKey 64 bytes, cleared by who asked for it
   */
  record NewFile(byte[] header, byte[] fileKey) {}

  private final Keys keys;
  private final String name;
  private final boolean durable;
  private @Nullable CipherPool<SealedCipher> ciphers;

  /** Whether bytes behind the clear end are known to be zero. */
  private boolean tailClean;

  /** Why the content cannot be read, 0 if it can. */
  private int broken;

  /** Set when the sync of a header failed: nothing may be reported as synced from then on. */
  private int poisoned;

  /**
   * @param durable false for spill files, whose header need not be synced
   */
  SealedContent(Backing backing, int fd, long cipherSize, String name, boolean durable, Keys keys) {
    super(backing, fd);
    this.keys = keys;
    this.name = name;
    this.durable = durable;
    this.size = SealedLayout.clearLength(cipherSize);
    if (size > 0) {
      load();
    }
  }

  private void load() {
    Scratch s = Scratch.get();
    long got = backing.pread(fd, s.io, HEADER, 0);
    if (got != HEADER) {
      broken = got < 0 ? (int) got : -Errno.EIO;
      return;
    }
    byte[] header = new byte[HEADER];
    Memory.copyOut(s.io, header, 0, HEADER);
    byte[] fileKey = null;
    try {
      fileKey = keys.fileKey(header);
      ciphers = pool(fileKey);
    } catch (DataDirectoryException e) {
      log.error("{} cannot be read: {}", name, e.getMessage());
      broken = -e.errno();
    } finally {
      clear(fileKey);
    }
  }

  private static CipherPool<SealedCipher> pool(byte[] fileKey) {
    byte[] kept = fileKey.clone();
    return new CipherPool<>(() -> new SealedCipher(kept), () -> clear(kept));
  }

  private static void clear(byte @Nullable [] secret) {
    if (secret != null) {
      Arrays.fill(secret, (byte) 0);
    }
  }

  @Override
  int read(long offset, int count, long address) {
    if (broken != 0) {
      return broken;
    }
    long end = Math.min(offset + count, size);
    if (offset >= end) {
      return 0;
    }
    CipherPool<SealedCipher> pool = ciphers;
    if (pool == null) {
      return -Errno.EIO;
    }
    Scratch s = Scratch.get();
    SealedCipher cipher = pool.take();
    try {
      long at = offset;
      while (at < end) {
        long first = at - at % UNIT;
        int want = (int) Math.min(Scratch.CHUNK, roundUp(end) - first);
        int r = readUnits(cipher, first, want, 0, s);
        if (r < 0) {
          return r;
        }
        int take = (int) (Math.min(end, first + want) - at);
        Memory.copyIn(s.bytes, (int) (at - first), address + (at - offset), take);
        at += take;
      }
      return (int) (end - offset);
    } finally {
      pool.giveBack(cipher);
    }
  }

  /** Puts clear units [first, first + count) at {@code s.bytes[index]}; missing bytes are zeros. */
  private int readUnits(SealedCipher cipher, long first, int count, int index, Scratch s) {
    long got = backing.pread(fd, s.io, count, HEADER + first);
    if (got < 0) {
      return (int) got;
    }
    if (got < count) {
      Memory.fill(s.io + got, count - got, 0);
    }
    Memory.copyOut(s.io, s.bytes, index, count);
    cipher.decrypt(first / UNIT, s.bytes, index, count / UNIT, s.bytes, index);
    return 0;
  }

  @Override
  int write(long offset, int count, long address) {
    if (broken != 0) {
      return broken;
    }
    if (count == 0) {
      return 0;
    }
    Scratch s = Scratch.get();
    long end = offset + count;
    int r = end > size ? prepareGrowth(s) : 0;
    if (r < 0) {
      return r;
    }
    CipherPool<SealedCipher> pool = ciphers;
    if (pool == null) {
      return -Errno.EIO;
    }
    SealedCipher cipher = pool.take();
    try {
      long at = offset;
      while (at < end) {
        long first = at - at % UNIT;
        long stop = Math.min(end, first + Scratch.CHUNK);
        int length = (int) (roundUp(stop) - first);
        if (at != first || (stop % UNIT != 0 && first == stop - stop % UNIT)) {
          r = loadUnit(cipher, first, 0, s);
        }
        if (r == 0 && stop % UNIT != 0 && stop - stop % UNIT != first) {
          r = loadUnit(cipher, stop - stop % UNIT, length - UNIT, s);
        }
        if (r < 0) {
          return r;
        }
        Memory.copyOut(address + (at - offset), s.bytes, (int) (at - first), (int) (stop - at));
        if (!cipher.encrypt(first / UNIT, s.bytes, 0, length / UNIT, s.bytes, 0)) {
          return -Errno.EIO;
        }
        Memory.copyIn(s.bytes, 0, s.io, length);
        long newCipherSize = stop + OVERHEAD;
        long total = length;
        if (stop > size) {
          // in the same ascending write: zeros up to the new size on disk
          int zeros = (int) (newCipherSize - (HEADER + first + length));
          Memory.fill(s.io + length, zeros, 0);
          total += zeros;
        }
        long written = backing.pwrite(fd, s.io, total, HEADER + first);
        if (written < 0) {
          tailClean = false;
          refreshSize(s);
          return (int) written;
        }
        size = Math.max(size, stop);
        at = stop;
      }
      return count;
    } finally {
      pool.giveBack(cipher);
    }
  }

  /** Puts the clear unit that begins at {@code first} at {@code s.bytes[index]}, zeros behind L. */
  private int loadUnit(SealedCipher cipher, long first, int index, Scratch s) {
    Arrays.fill(s.bytes, index, index + UNIT, (byte) 0);
    if (first >= size) {
      return 0;
    }
    int r = readUnits(cipher, first, UNIT, index, s);
    int valid = (int) Math.min(UNIT, size - first);
    Arrays.fill(s.bytes, index + valid, index + UNIT, (byte) 0);
    return r;
  }

  private void refreshSize(Scratch s) {
    long cipherSize = backingSize(s);
    if (cipherSize >= 0) {
      size = SealedLayout.clearLength(cipherSize);
    }
  }

  /** Header before the first byte; a clean tail before any growth. */
  private int prepareGrowth(Scratch s) {
    if (size == 0) {
      // A header may be there already: a file cut to its header, or less, holds nothing. A new
      // header gets a new file id, so no keystream of the old one is met again.
      return ciphers == null || !tailClean ? writeHeader(s) : 0;
    }
    if (tailClean) {
      return 0;
    }
    CipherPool<SealedCipher> pool = ciphers;
    if (pool == null) {
      return -Errno.EIO;
    }
    SealedCipher cipher = pool.take();
    try {
      long lastUnit = (size - 1) / UNIT * UNIT;
      int inUnit = (int) (size - lastUnit);
      int r = readUnits(cipher, lastUnit, UNIT, 0, s);
      if (r < 0) {
        return r;
      }
      boolean dirty = !Memory.isZero(s.bytes, inUnit, UNIT - inUnit);
      long slackStart = HEADER + lastUnit + UNIT;
      int slack = (int) (size + OVERHEAD - slackStart);
      if (!dirty && slack > 0) {
        long got = backing.pread(fd, s.io, slack, slackStart);
        if (got < 0) {
          return (int) got;
        }
        dirty = !Memory.isZero(s.io, got);
      }
      if (dirty) {
        Arrays.fill(s.bytes, inUnit, UNIT, (byte) 0);
        if (!cipher.encrypt(lastUnit / UNIT, s.bytes, 0, 1, s.bytes, 0)) {
          return -Errno.EIO;
        }
        Memory.copyIn(s.bytes, 0, s.io, UNIT);
        Memory.fill(s.io + UNIT, slack, 0);
        long w = backing.pwrite(fd, s.io, UNIT + slack, HEADER + lastUnit);
        if (w < 0) {
          return (int) w;
        }
        if (durable) {
          r = backing.fdatasync(fd);
          if (r < 0) {
            poisoned = r;
            return r;
          }
        }
      }
      tailClean = true;
      return 0;
    } finally {
      pool.giveBack(cipher);
    }
  }

  private int writeHeader(Scratch s) {
    NewFile made;
    try {
      made = keys.newFile();
    } catch (DataDirectoryException e) {
      log.error("{} cannot be sealed: {}", name, e.getMessage());
      return -e.errno();
    }
    int r = backing.ftruncate(fd, 0);
    if (r >= 0) {
      Memory.copyIn(made.header(), 0, s.io, HEADER);
      r = (int) Math.min(0, backing.pwrite(fd, s.io, HEADER, 0));
    }
    if (r >= 0 && durable) {
      r = backing.fdatasync(fd);
      if (r < 0) {
        poisoned = r;
      }
    }
    if (r < 0) {
      backing.ftruncate(fd, 0);
      clear(made.fileKey());
      return r;
    }
    if (ciphers != null) {
      ciphers.close();
    }
    ciphers = pool(made.fileKey());
    clear(made.fileKey());
    tailClean = true;
    return 0;
  }

  @Override
  int truncate(long newSize) {
    if (newSize == 0) {
      int r = backing.ftruncate(fd, 0);
      if (r >= 0) {
        size = 0;
        broken = 0;
        poisoned = 0;
        close();
      }
      return r;
    }
    if (broken != 0) {
      return broken;
    }
    if (newSize > size) {
      int r = prepareGrowth(Scratch.get());
      if (r < 0) {
        return r;
      }
    }
    int r = backing.ftruncate(fd, newSize + OVERHEAD);
    if (r >= 0) {
      if (newSize < size) {
        tailClean = false;
      }
      size = newSize;
    }
    return r;
  }

  @Override
  int allocate(int mode, long offset, long count) {
    if (broken != 0) {
      return broken;
    }
    long end = offset + count;
    Scratch s = Scratch.get();
    if (mode == 0 && end > size) {
      int r = prepareGrowth(s);
      if (r >= 0) {
        r = backing.fallocate(fd, 0, HEADER + offset, count);
      }
      if (r >= 0) {
        r = backing.ftruncate(fd, end + OVERHEAD);
      }
      if (r >= 0) {
        size = end;
      } else {
        refreshSize(s);
      }
      return r;
    }
    if (mode == 0) {
      return backing.fallocate(fd, Posix.FALLOC_FL_KEEP_SIZE, HEADER + offset, count);
    }
    if (mode == Posix.FALLOC_FL_KEEP_SIZE) {
      // an empty file stays 0 bytes: there is no header to shift by
      return size == 0 ? 0 : backing.fallocate(fd, mode, HEADER + offset, count);
    }
    boolean punch = mode == (Posix.FALLOC_FL_PUNCH_HOLE | Posix.FALLOC_FL_KEEP_SIZE);
    boolean zero =
        mode == Posix.FALLOC_FL_ZERO_RANGE
            || mode == (Posix.FALLOC_FL_ZERO_RANGE | Posix.FALLOC_FL_KEEP_SIZE);
    if (!punch && !zero) {
      return -Errno.EOPNOTSUPP;
    }
    if (zero && mode == Posix.FALLOC_FL_ZERO_RANGE && end > size) {
      int r = truncate(end);
      if (r < 0) {
        return r;
      }
    }
    return zeroRange(offset, Math.min(end, size));
  }

  /** Makes [from, to) read as zeros: whole units punched, edges rewritten. */
  private int zeroRange(long from, long to) {
    if (from >= to) {
      return 0;
    }
    long firstWhole = roundUp(from);
    long lastWhole = to == size ? roundUp(to) : to - to % UNIT;
    if (firstWhole >= lastWhole) {
      return writeZeros(from, to);
    }
    int r = writeZeros(from, Math.min(firstWhole, to));
    if (r >= 0) {
      r =
          backing.fallocate(
              fd,
              Posix.FALLOC_FL_PUNCH_HOLE | Posix.FALLOC_FL_KEEP_SIZE,
              HEADER + firstWhole,
              lastWhole - firstWhole);
    }
    return r < 0 ? r : writeZeros(Math.max(lastWhole, from), to);
  }

  private int writeZeros(long from, long to) {
    if (from >= to) {
      return 0;
    }
    // at most two edges of less than a unit each, or one range inside two units
    try (Arena arena = Arena.ofConfined()) {
      long zeros = arena.allocate(to - from).address();
      return Math.min(0, write(from, (int) (to - from), zeros));
    }
  }

  @Override
  long seek(long offset, int whence) {
    return seekShifted(offset, whence, HEADER);
  }

  @Override
  int beforeSync() {
    return poisoned;
  }

  @Override
  void close() {
    CipherPool<SealedCipher> c = ciphers;
    if (c != null) {
      c.close();
      ciphers = null;
    }
  }

  private static long roundUp(long offset) {
    return (offset + UNIT - 1) / UNIT * UNIT;
  }
}
