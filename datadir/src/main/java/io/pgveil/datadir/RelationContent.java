package io.pgveil.datadir;

import io.pgveil.ciphers.PageCipher;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import org.jspecify.annotations.Nullable;

/**
 * A relation file: 8-KiB pages in pg_tde's format (AES-CBC, spec format 2), an all-zero page stored
 * as raw zeros. Clear and cipher sizes are equal.
 *
 * <p>A file may end inside a page (a tool copies in 4-KiB steps, a full disk cuts a write). The
 * format knows whole pages only, so the n bytes of such a tail are stored as the first n/16 blocks
 * of the encrypted page and, for the rest of up to 15 bytes, the clear bytes XOR one more cipher
 * block; n zero bytes stay raw. (Where the rest is all of the tail and equals those cipher bytes,
 * it would become zeros, so it stays as it is: both rules are their own inverse.) The tail is
 * encoded anew as soon as the file grows, so no reader but ours meets this form.
 */
final class RelationContent extends Content {
  static final int PAGE = PageCipher.PAGE_SIZE;

  /** Where the key of a relation comes from. */
  interface Keys {
    /**
     * The cipher of the relation's internal key; null if it has none.
     *
     * @throws DataDirectoryException the key cannot be had; its message was logged
     */
    @Nullable CipherPool<PageCipher> find() throws DataDirectoryException;

    /**
     * Gives the relation a new internal key.
     *
     * @throws DataDirectoryException also if another file of the relation holds pages: they were
     *     written with the key that is lost, and would read as noise from then on
     */
    CipherPool<PageCipher> create() throws DataDirectoryException;

    /** Whether the internal key is durable: cipher bytes may be written. */
    boolean isDurable();

    /** Makes the internal key durable, with every other key born before the call. */
    void makeDurable() throws DataDirectoryException;
  }

  private final RelationFile file;
  private final Keys keys;
  private final DeferredPages deferred;
  private volatile @Nullable CipherPool<PageCipher> ciphers;

  RelationContent(
      Backing backing,
      int fd,
      long size,
      RelationFile file,
      Keys keys,
      DeferredPages.Budget budget) {
    super(backing, fd);
    this.size = size;
    this.file = file;
    this.keys = keys;
    this.deferred = new DeferredPages(budget);
  }

  /**
   * The ciphers of this file. A file without a key that is empty or all zero gets a new one;
   * anything else without a key is refused and never reset (hazard 1).
   */
  private CipherPool<PageCipher> ciphers() throws DataDirectoryException {
    CipherPool<PageCipher> c = ciphers;
    if (c != null) {
      return c;
    }
    synchronized (keys) {
      c = ciphers;
      if (c == null) {
        c = keys.find();
        if (c == null) {
          if (!isAllZero()) {
            throw new DataDirectoryException(
                Errno.EIO,
                "no internal key for "
                    + file
                    + ": its pages cannot be read or changed in part;"
                    + " restore pg_tde/ and the data files from the same backup");
          }
          c = keys.create();
        }
        ciphers = c;
      }
    }
    return c;
  }

  /** Looks the key up while the entry certainly exists; a failure shows at the first page. */
  void resolveKey() {
    if (size == 0) {
      return;
    }
    try {
      ciphers();
    } catch (DataDirectoryException e) {
      // the read or write that needs the key asks again and reports
    }
  }

  private boolean isAllZero() {
    return deferred.isEmpty() && isAllZero(backing, fd, size);
  }

  /** Whether the file holds zeros alone, or cannot be found. */
  static boolean isAllZero(Backing backing, int rootFd, String path) {
    int fd = backing.openat(rootFd, path, Posix.O_RDONLY | Posix.O_NOFOLLOW, 0);
    if (fd < 0) {
      return fd == -Errno.ENOENT;
    }
    try {
      return isAllZero(backing, fd, Long.MAX_VALUE);
    } finally {
      backing.close(fd);
    }
  }

  private static boolean isAllZero(Backing backing, int fd, long size) {
    Scratch s = Scratch.get();
    long p = 0;
    while (p < size) {
      long data = backing.lseek(fd, p, Posix.SEEK_DATA);
      if (data == -Errno.ENXIO) {
        return true;
      }
      p = data < 0 ? p : data;
      long n = backing.pread(fd, s.io, Math.min(Scratch.CHUNK, size - p), p);
      if (n < 0 || !Memory.isZero(s.io, n)) {
        return false;
      }
      if (n == 0) {
        return true;
      }
      p += n;
    }
    return true;
  }

  @Override
  int read(long offset, int count, long address) {
    long end = Math.min(offset + count, size);
    if (offset >= end) {
      return 0;
    }
    Scratch s = Scratch.get();
    PageCipher cipher = null;
    CipherPool<PageCipher> pool = null;
    try {
      long at = offset;
      while (at < end) {
        long first = at - at % PAGE;
        int want = (int) Math.min(Scratch.CHUNK, roundUp(end) - first);
        long got = readCipher(s.io, want, first);
        if (got < 0) {
          return (int) got;
        }
        int take = (int) (Math.min(end, first + got) - at);
        if (take <= 0) {
          break;
        }
        if (Memory.isZero(s.io, got)) {
          Memory.fill(address + (at - offset), take, 0);
        } else {
          if (cipher == null) {
            pool = ciphers();
            cipher = pool.take();
          }
          Memory.copyOut(s.io, s.bytes, 0, (int) got);
          for (int p = 0; p < got; p += PAGE) {
            decodePage(cipher, s.bytes, p, (int) Math.min(PAGE, got - p), block(first + p), s);
          }
          Memory.copyIn(s.bytes, (int) (at - first), address + (at - offset), take);
        }
        at += take;
      }
      return (int) (at - offset);
    } catch (DataDirectoryException e) {
      return -e.errno();
    } finally {
      if (cipher != null && pool != null) {
        pool.giveBack(cipher);
      }
    }
  }

  @Override
  int write(long offset, int count, long address) {
    Scratch s = Scratch.get();
    CipherPool<PageCipher> pool = null;
    PageCipher cipher = null;
    try {
      if (offset == 0 && count >= size && ciphers == null && keys.find() == null) {
        // full overwrite of a file that lost its key: redo must be able to do that
        ciphers = keys.create();
      }
      pool = ciphers();
      cipher = pool.take();
      if (offset > size) {
        int r = fillTail(cipher, offset, s);
        if (r < 0) {
          return r;
        }
      }
      long end = offset + count;
      long newSize = Math.max(size, end);
      long at = offset;
      while (at < end) {
        long first = at - at % PAGE;
        long stop = Math.min(end, first + Scratch.CHUNK);
        long last = Math.min(roundUp(stop), newSize);
        // pages that this write covers in part are read, changed and written back whole
        int r = loadIfPartial(cipher, first, at, stop, s);
        if (r == 0 && stop % PAGE != 0 && stop - stop % PAGE != first) {
          r =
              loadIfPartial(
                  cipher, stop - stop % PAGE, at, stop, s, (int) (stop - stop % PAGE - first));
        }
        if (r < 0) {
          return r;
        }
        Memory.copyOut(address + (at - offset), s.bytes, (int) (at - first), (int) (stop - at));
        int length = (int) (last - first);
        for (int p = 0; p < length; p += PAGE) {
          encodePage(cipher, s.bytes, p, Math.min(PAGE, length - p), block(first + p), s);
        }
        r = storeCipher(first, length, s);
        if (r < 0) {
          size = Math.max(size, backingSize(s));
          return r;
        }
        size = Math.max(size, last);
        at = stop;
      }
      return count;
    } catch (DataDirectoryException e) {
      return -e.errno();
    } finally {
      if (cipher != null && pool != null) {
        pool.giveBack(cipher);
      }
    }
  }

  private int loadIfPartial(PageCipher cipher, long pageStart, long from, long to, Scratch s) {
    return loadIfPartial(cipher, pageStart, from, to, s, 0);
  }

  /**
   * If [from, to) does not cover the page at {@code pageStart} up to the end of the file, puts its
   * clear bytes, padded with zeros, at {@code s.bytes[index]}.
   */
  private int loadIfPartial(
      PageCipher cipher, long pageStart, long from, long to, Scratch s, int index) {
    long pageEnd = pageStart + PAGE;
    if (from <= pageStart && to >= Math.min(pageEnd, size)) {
      java.util.Arrays.fill(s.bytes, index, index + PAGE, (byte) 0);
      return 0;
    }
    int have = (int) Math.max(0, Math.min(PAGE, size - pageStart));
    if (have > 0) {
      long got = readCipher(s.io, have, pageStart);
      if (got < 0) {
        return (int) got;
      }
      have = (int) got;
      Memory.copyOut(s.io, s.bytes, index, have);
      decodePage(cipher, s.bytes, index, have, block(pageStart), s);
    }
    java.util.Arrays.fill(s.bytes, index + have, index + PAGE, (byte) 0);
    return 0;
  }

  /** Encodes a page that ends inside itself anew before the file grows behind it. */
  private int fillTail(PageCipher cipher, long newSize, Scratch s) throws DataDirectoryException {
    int n = (int) (size % PAGE);
    if (n == 0) {
      return 0;
    }
    long start = size - n;
    long got = readCipher(s.io, n, start);
    if (got < 0) {
      return (int) got;
    }
    Memory.copyOut(s.io, s.bytes, 0, n);
    decodePage(cipher, s.bytes, 0, n, block(start), s);
    int length = (int) Math.min(PAGE, newSize - start);
    java.util.Arrays.fill(s.bytes, n, length, (byte) 0);
    return storePage(cipher, start, length, s);
  }

  private int storePage(PageCipher cipher, long start, int length, Scratch s)
      throws DataDirectoryException {
    encodePage(cipher, s.bytes, 0, length, block(start), s);
    int r = storeCipher(start, length, s);
    if (r < 0) {
      return r;
    }
    size = Math.max(size, start + length);
    return 0;
  }

  /** Cipher bytes as they are or will be on disk. */
  private long readCipher(long address, int count, long offset) {
    long got = backing.pread(fd, address, count, offset);
    if (got > 0 && !deferred.isEmpty()) {
      deferred.overlay(address, (int) got, offset);
    }
    return got;
  }

  /**
   * Brings {@code s.bytes[0, length)} to disk. While the key is not durable they wait in memory:
   * one sync then covers all keys born meanwhile, and a file that is only created and closed costs
   * none. The file has its size at once, and zeros where pages wait.
   */
  private int storeCipher(long start, int length, Scratch s) throws DataDirectoryException {
    if (!keys.isDurable() && !Memory.isZero(s.bytes, 0, length)) {
      // first what may fail: a page that was refused must not come to disk later
      boolean grows = start + length > size;
      int r = grows ? backing.ftruncate(fd, start + length) : 0;
      if (r < 0 || deferred.add(start, s.bytes, length)) {
        return r;
      }
      try {
        keys.makeDurable();
      } catch (DataDirectoryException e) {
        if (grows) {
          backing.ftruncate(fd, size);
        }
        throw e;
      }
    }
    if (!deferred.isEmpty()) {
      int r = flush();
      if (r < 0) {
        return r;
      }
    }
    Memory.copyIn(s.bytes, 0, s.io, length);
    return (int) Math.min(0, backing.pwrite(fd, s.io, length, start));
  }

  /** Writes the pages that wait for the key. The caller holds the exclusive content lock. */
  @Override
  int flush() {
    if (deferred.isEmpty()) {
      return 0;
    }
    try {
      keys.makeDurable();
    } catch (DataDirectoryException e) {
      return -e.errno();
    }
    // these pages were written when the caller wrote them: the time stays as it is
    Scratch s = Scratch.get();
    int known = backing.fstat(fd, s.stat2);
    long mtime = s.stat2.mtime;
    int mtimeNanos = s.stat2.mtimeNanos;
    int r = deferred.writeTo(backing, fd, s.io);
    if (known >= 0) {
      Posix.futimens(fd, 0, Posix.UTIME_OMIT, mtime, mtimeNanos);
    }
    // they should have been on their way to the device by now
    backing.startWriteback(fd);
    return r;
  }

  @Override
  boolean hasDeferred() {
    return !deferred.isEmpty();
  }

  @Override
  int truncate(long newSize) {
    Scratch s = Scratch.get();
    if (newSize == 0) {
      int r = backing.ftruncate(fd, 0);
      if (r >= 0) {
        deferred.clear();
        size = 0;
      }
      return r;
    } else {
      int f = flush();
      if (f < 0) {
        return f;
      }
    }
    try {
      int n = (int) (newSize % PAGE);
      boolean cutsPage = newSize < size && n != 0;
      boolean growsFromTail = newSize > size && size % PAGE != 0;
      if (cutsPage || growsFromTail) {
        CipherPool<PageCipher> pool = ciphers();
        PageCipher cipher = pool.take();
        try {
          if (growsFromTail) {
            int r = fillTail(cipher, newSize, s);
            if (r < 0) {
              return r;
            }
          } else {
            int r = loadIfPartial(cipher, newSize - n, newSize - n, newSize - n, s);
            if (r < 0) {
              return r;
            }
            r = backing.ftruncate(fd, newSize);
            if (r < 0) {
              return r;
            }
            size = newSize;
            return storePage(cipher, newSize - n, n, s);
          }
        } finally {
          pool.giveBack(cipher);
        }
      }
      int r = backing.ftruncate(fd, newSize);
      if (r >= 0) {
        size = newSize;
      }
      return r;
    } catch (DataDirectoryException e) {
      return -e.errno();
    }
  }

  @Override
  int allocate(int mode, long offset, long count) {
    long end = offset + count;
    int f = flush();
    if (f < 0) {
      return f;
    }
    if (mode == 0 || mode == Posix.FALLOC_FL_KEEP_SIZE) {
      if (mode == 0 && end > size && size % PAGE != 0) {
        int r = truncate(end);
        if (r < 0) {
          return r;
        }
      }
      int r = backing.fallocate(fd, mode, offset, count);
      if (r >= 0 && mode == 0) {
        size = Math.max(size, end);
      }
      return r;
    }
    boolean punch = mode == (Posix.FALLOC_FL_PUNCH_HOLE | Posix.FALLOC_FL_KEEP_SIZE);
    if (punch && offset % PAGE == 0 && (end % PAGE == 0 || end >= size)) {
      return backing.fallocate(fd, mode, offset, count);
    }
    return -Errno.EOPNOTSUPP;
  }

  @Override
  long seek(long offset, int whence) {
    return seekShifted(offset, whence, 0);
  }

  @Override
  void close() {
    deferred.clear();
    CipherPool<PageCipher> c = ciphers;
    if (c != null) {
      c.close();
      ciphers = null;
    }
  }

  private int block(long offset) {
    return file.firstBlock() + (int) (offset / PAGE);
  }

  private static long roundUp(long offset) {
    return (offset + PAGE - 1) / PAGE * PAGE;
  }

  private void encodePage(PageCipher cipher, byte[] b, int at, int n, int block, Scratch s) {
    if (n == PAGE) {
      cipher.encrypt(b, at, file.fork(), block, b, at);
      return;
    }
    if (Memory.isZero(b, at, n)) {
      return;
    }
    System.arraycopy(b, at, s.page, 0, n);
    java.util.Arrays.fill(s.page, n, PAGE, (byte) 0);
    cipher.encrypt(s.page, 0, file.fork(), block, s.page, 0);
    int whole = n & ~15;
    if (n != whole) {
      byte[] clear = java.util.Arrays.copyOfRange(b, at + whole, at + n);
      System.arraycopy(s.page, 0, b, at, whole);
      tailBlock(cipher, b, at, whole, block, s);
      xorTail(clear, whole == 0, s);
      System.arraycopy(clear, 0, b, at + whole, clear.length);
    } else {
      System.arraycopy(s.page, 0, b, at, whole);
    }
  }

  private void decodePage(PageCipher cipher, byte[] b, int at, int n, int block, Scratch s) {
    if (n == PAGE) {
      cipher.decrypt(b, at, file.fork(), block, b, at);
      return;
    }
    if (Memory.isZero(b, at, n)) {
      return;
    }
    int whole = n & ~15;
    byte[] tail = java.util.Arrays.copyOfRange(b, at + whole, at + n);
    if (tail.length > 0) {
      tailBlock(cipher, b, at, whole, block, s);
      xorTail(tail, whole == 0, s);
    }
    System.arraycopy(b, at, s.page, 0, whole);
    java.util.Arrays.fill(s.page, whole, PAGE, (byte) 0);
    // never all zero here, or the zero-page rule would show the bytes as they are
    s.page[PAGE - 1] = 1;
    cipher.decrypt(s.page, 0, file.fork(), block, s.page, 0);
    System.arraycopy(s.page, 0, b, at, whole);
    System.arraycopy(tail, 0, b, at + whole, tail.length);
  }

  /**
   * XORs the cipher block that {@link #tailBlock} made; see the class comment for {@code alone}.
   */
  private static void xorTail(byte[] tail, boolean alone, Scratch s) {
    int n = tail.length;
    if (!alone || !java.util.Arrays.equals(tail, 0, n, s.page, 0, n)) {
      for (int i = 0; i < n; i++) {
        tail[i] ^= s.page[i];
      }
    }
  }

  /** One more cipher block, from the last whole one, for the up to 15 bytes behind it. */
  private void tailBlock(PageCipher cipher, byte[] b, int at, int whole, int block, Scratch s) {
    java.util.Arrays.fill(s.page, (byte) 0);
    if (whole > 0) {
      System.arraycopy(b, at + whole - 16, s.page, 0, 16);
    }
    for (int i = 0; i < 16; i++) {
      s.page[i] ^= 0x5a;
    }
    s.page[PAGE - 1] = 1;
    cipher.encrypt(s.page, 0, file.fork(), block, s.page, 0);
  }
}
