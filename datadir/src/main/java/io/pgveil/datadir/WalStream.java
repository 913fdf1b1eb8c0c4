package io.pgveil.datadir;

import io.pgveil.ciphers.WalCipher;
import io.pgveil.ciphers.WalCodec;
import io.pgveil.ciphers.WalPage;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.WalKeys;
import io.pgveil.keys.WalRange;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import java.util.Arrays;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The write-ahead log as one encrypted stream over all segments: runs, WAL ranges, and which range
 * governs which byte (docs/decisions/0004 and 0005; pg_tde spec format 3).
 *
 * <p>A <em>run</em> is a stretch of writing that must have a key of its own. {@link #beginRun} only
 * notes that the next one has begun; its range is made by the first WAL byte that differs from what
 * is there, and starts at that byte, so WAL that was acknowledged keeps key and ciphertext whatever
 * happens (hazards 4 to 7).
 *
 * <p>Locking: every WAL write holds this object's monitor, as PostgreSQL holds one lock over its
 * own. Reads use an immutable snapshot of the ranges and take no lock here.
 */
final class WalStream {
  private static final Logger log = LoggerFactory.getLogger(WalStream.class);

  static final int PAGE = 8192;
  private static final int WORD = 8;

  /** Smallest valid location: WAL never lies in segment 0, so everything comes behind it. */
  private static final long FIRST_LSN = 8;

  private static final int FIRST_TIMELINE = 1;

  /** A cipher and the codec over it. */
  private record RangeCipher(WalCipher cipher, WalCodec codec) implements AutoCloseable {
    @Override
    public void close() {
      cipher.close();
    }
  }

  /** A range with its ciphers; no ciphers: its bytes are clear. */
  private record Governed(WalRange range, @Nullable CipherPool<RangeCipher> ciphers) {}

  /** The page that was written last, in the clear: it will be written again. */
  private static final class LastPage {
    final byte[] clear = new byte[PAGE];
    @Nullable WalContent content;
    long offset;
    int recordEnd;
    boolean holdsRawWords;
  }

  private final WalKeys keys;
  private final CipherType cipherType;
  private final BooleanSupplier encryptionWanted;
  private final Runnable beforeRange;

  private volatile Governed[] ranges = new Governed[0];
  private volatile int segmentSize;

  // guarded by this
  private boolean runIsNew = true;
  private String runReason = "daemon start";
  private long lastRewritten = -1;
  private final LastPage last = new LastPage();
  private final byte[] clear = new byte[Scratch.CHUNK + PAGE];
  private final byte[] onDisk = new byte[Scratch.CHUNK + PAGE];

  /**
   * @param encryptionWanted asked once a run, when its range is made
   */
  WalStream(
      WalKeys keys, CipherType cipherType, BooleanSupplier encryptionWanted, Runnable beforeRange)
      throws KeyException {
    this.keys = keys;
    this.cipherType = cipherType;
    this.encryptionWanted = encryptionWanted;
    this.beforeRange = beforeRange;
    reload();
  }

  private void reload() throws KeyException {
    List<WalRange> list = keys.ranges();
    Governed[] old = ranges;
    Governed[] now = new Governed[list.size()];
    for (int i = 0; i < now.length; i++) {
      WalRange r = list.get(i);
      now[i] = i < old.length && old[i].range.equals(r) ? old[i] : new Governed(r, pool(r));
    }
    ranges = now;
  }

  private @Nullable CipherPool<RangeCipher> pool(WalRange range) throws KeyException {
    if (range.type() != WalRange.Type.ENCRYPTED) {
      return null;
    }
    InternalKey key = keys.key(range);
    return new CipherPool<>(
        () -> {
          byte[] k = key.copyKey();
          byte[] iv = key.copyBaseIv();
          try {
            WalCipher cipher = new WalCipher(k, iv);
            return new RangeCipher(cipher, new WalCodec(cipher));
          } finally {
            Arrays.fill(k, (byte) 0);
          }
        },
        () -> {});
  }

  /** A run begins: WAL that differs from what is there gets a new range. */
  synchronized void beginRun(String reason) {
    runIsNew = true;
    runReason = reason;
  }

  /** Size of a segment in bytes, 0 while unknown. */
  int segmentSize() {
    return segmentSize;
  }

  synchronized void learnSegmentSize(long size) {
    if (ControlData.isSegmentSize(size) && segmentSize != size) {
      if (segmentSize != 0) {
        log.warn("WAL segment size changes from {} to {} bytes", segmentSize, size);
        beginRun("changed segment size");
      }
      segmentSize = (int) size;
    }
  }

  // ---- which range governs what ----

  /** Index of the range that governs a location, -1 for none (clear). */
  private static int governing(Governed[] all, int tli, long lsn) {
    for (int i = all.length - 1; i >= 0; i--) {
      WalRange r = all[i].range;
      if (compare(r.tli(), r.startLsn(), tli, lsn) <= 0) {
        return i;
      }
    }
    return -1;
  }

  private static int compare(int tliA, long lsnA, int tliB, long lsnB) {
    int c = Integer.compareUnsigned(tliA, tliB);
    return c != 0 ? c : Long.compareUnsigned(lsnA, lsnB);
  }

  /** Where the stretch that begins at {@code lsn} under one range ends, at most {@code end}. */
  private static long stretchEnd(Governed[] all, int tli, long lsn, long end) {
    long e = end;
    for (Governed g : all) {
      long start = g.range.startLsn();
      if (g.range.tli() == tli
          && Long.compareUnsigned(start, lsn) > 0
          && Long.compareUnsigned(start, e) < 0) {
        e = start;
      }
    }
    return e;
  }

  // ---- reading ----

  /**
   * Decodes {@code n} bytes of a segment in place. {@code offset} must be a multiple of 8, {@code
   * n} too unless the file ends there.
   */
  void decode(int tli, long segno, long offset, byte[] b, int at, int n) {
    Governed[] all = ranges;
    long base = segno * segmentSize;
    long from = offset;
    while (from < offset + n) {
      long end = stretchEnd(all, tli, base + from, base + offset + n) - base;
      int g = governing(all, tli, base + from);
      CipherPool<RangeCipher> pool = g < 0 ? null : all[g].ciphers();
      if (pool != null) {
        int i = at + (int) (from - offset);
        RangeCipher c = pool.take();
        c.codec().decode(tli, segno, from, b, i, (int) (end - from), b, i);
        pool.giveBack(c);
      }
      from = end;
    }
  }

  // ---- writing ----

  /**
   * Writes clear WAL. The caller holds the content lock of {@code content} exclusively.
   *
   * @param begun called when all later WAL waits for this write (they keep their order: hazards 4
   *     to 7), if it lies inside the file
   */
  synchronized int write(WalContent content, long offset, int count, long address, Runnable begun) {
    try {
      if (segmentSize != 0 && offset + count <= content.size) {
        begun.run();
      }
      if (segmentSize == 0
          && offset >= content.size
          && (offset | count) % WORD == 0
          && Memory.isZero(address, count)) {
        // pg_basebackup pads the first segment with zeros; they are stored as they are
        return appendZeros(content, offset, count);
      }
      if (segmentSize == 0 || offset == 0) {
        learnFromHeader(content, offset, count, address);
      }
      if (segmentSize == 0 && (offset | count) % WORD == 0 && Memory.isZero(address, count)) {
        // a tool fills the file before its first page comes; raw zeros need no key
        long w = content.backing.pwrite(content.fd, address, count, offset);
        content.size = Math.max(content.size, w < 0 ? 0 : offset + count);
        return (int) Math.min(w, count);
      }
      if (segmentSize == 0) {
        log.error(
            "{}: the WAL segment size is unknown: neither a whole segment nor a first page was seen",
            content.name());
        return -Errno.EIO;
      }
      if (Integer.compareUnsigned(content.timeline(), 65535) > 0) {
        log.error("{}: timelines above 65535 cannot be encrypted safely", content.name());
        return -Errno.EIO;
      }
      int done = 0;
      while (done < count) {
        int n = Math.min(count - done, Scratch.CHUNK - (int) ((offset + done) % PAGE));
        int r = writeChunk(content, offset + done, n, address + done, done + n == count);
        if (r < 0) {
          return r;
        }
        done += n;
      }
      return count;
    } catch (KeyException e) {
      log.error("WAL cannot be written to {}: {}", content.name(), e.getMessage());
      return -DataDirectoryException.errnoOf(e);
    }
  }

  private static int appendZeros(WalContent c, long offset, int count) {
    Scratch s = Scratch.get();
    Memory.fill(s.io, Math.min(count, Scratch.CHUNK), 0);
    for (int done = 0; done < count; ) {
      int n = Math.min(count - done, Scratch.CHUNK);
      long w = c.backing.pwrite(c.fd, s.io, n, offset + done);
      if (w < 0) {
        c.refreshSize(s);
        return (int) w;
      }
      done += n;
    }
    c.size = offset + count;
    return count;
  }

  private void learnFromHeader(WalContent content, long offset, int count, long address) {
    if (offset == 0 && count >= 40 && (Memory.getShort(address + 2) & 2) != 0) {
      learnSegmentSize(Memory.getInt(address + 32) & 0xffffffffL);
    } else if (segmentSize == 0) {
      learnSegmentSize(content.size);
    }
  }

  private int writeChunk(WalContent c, long offset, int count, long address, boolean isLast)
      throws KeyException {
    final int tli = c.timeline();
    final long segno = c.segmentNumber(segmentSize);
    final long base = segno * segmentSize;
    final long end = offset + count;
    boolean wholePages = offset % PAGE == 0 && count % PAGE == 0;

    int r = finishLastPage(c, offset);
    if (r < 0) {
      return r;
    }
    // Whole words only: a word of which this write holds a part is read, changed, written whole. It
    // is read before a range may be placed, while the keys that it was written with govern it.
    int lead = (int) (offset % WORD);
    long first = offset - lead;
    long stop = end + (WORD - end % WORD) % WORD;
    Memory.copyOut(address, clear, lead, count);
    if (lead != 0) {
      r = loadWord(c, tli, segno, first, clear, 0, lead, true);
    }
    if (r >= 0 && stop != end) {
      int tail = (int) (end % WORD);
      r = loadWord(c, tli, segno, stop - WORD, clear, (int) (stop - WORD - first), tail, false);
    }
    if (r < 0) {
      return r;
    }
    boolean rewritesLast =
        last.content == c && offset <= last.offset && end >= last.offset + PAGE && wholePages;
    if (rewritesLast) {
      int at = (int) (last.offset - offset);
      int d = Arrays.mismatch(clear, at, at + last.recordEnd, last.clear, 0, last.recordEnd);
      if (d >= 0) {
        log.warn("{}: complete WAL records are rewritten at {}", c.name(), last.offset + d);
        runIsNew = true;
        runReason = "rewritten records";
      }
    }
    long start = first;
    if (runIsNew && !(c.isBeingRestored() && ranges.length > 0)) {
      r = loadOnDisk(c, tli, segno, first, stop);
      if (r < 0) {
        return r;
      }
      long differs = firstDifference(first, offset, end);
      if (differs < 0) {
        return extendWithZeros(c, tli, segno, offset, end);
      }
      if (placeRange(tli, base, differs)) {
        start = differs - differs % WORD;
      } else {
        // an old stretch that some tool writes again: it goes on under the range that governs it,
        // but what lies behind the newest range's start must not
        WalRange newest = ranges[ranges.length - 1].range;
        long border = newest.startLsn() - base;
        if (newest.tli() == tli && border > 0 && border < end) {
          long behind = firstDifference(first, Math.max(border, offset), end);
          if (behind >= 0) {
            placeRange(tli, base, behind);
          }
        }
      }
    }
    if (start > c.size) {
      r = padWord(c, tli, segno, start);
      if (r < 0) {
        return r;
      }
    }
    int n = (int) (stop - start);
    System.arraycopy(clear, (int) (start - first), clear, 0, n);
    if (stop > end && stop > c.size) {
      n -= (int) (stop - Math.max(end, c.size));
    }

    // of a write of whole pages all but the last are complete; any other write is all exact
    boolean lastPageOpen = isLast && wholePages;
    long lastPageStart = end - PAGE;
    int recordEnd = PAGE;
    if (lastPageOpen) {
      Memory.copyOut(address + (lastPageStart - offset), last.clear, 0, PAGE);
      recordEnd = WalPage.recordEnd(last.clear, 0);
    }
    r = store(c, tli, segno, clear, start, n, lastPageOpen ? lastPageStart + recordEnd : end);
    if (r < 0) {
      last.content = null;
      return r;
    }
    if (lastPageOpen) {
      last.content = c;
      last.offset = lastPageStart;
      last.recordEnd = recordEnd;
      last.holdsRawWords = r > 0;
    } else if (last.content == c && end > last.offset) {
      last.content = null;
    }
    return count;
  }

  /**
   * Encodes the first {@code n} bytes of {@code clearBytes}, which belong at {@code start}, and
   * writes them. Zero words at or behind {@code rawFrom} and all-zero pages stay raw zeros.
   *
   * @return how many words stayed raw outside all-zero pages, or -errno
   */
  private int store(
      WalContent c, int tli, long segno, byte[] clearBytes, long start, int n, long rawFrom) {
    Governed[] all = ranges;
    long base = segno * segmentSize;
    Scratch s = Scratch.get();
    System.arraycopy(clearBytes, 0, s.bytes, 0, n);
    int rawWords = 0;
    long from = start;
    long end = start + n;
    while (from < end) {
      long stop = stretchEnd(all, tli, base + from, base + end) - base;
      int at = (int) (from - start);
      int size = (int) (stop - from);
      int g = governing(all, tli, base + from);
      CipherPool<RangeCipher> pool = g < 0 ? null : all[g].ciphers();
      if (pool != null) {
        int exact = (int) Math.max(0, Math.min(size, rawFrom - from));
        RangeCipher cipher = pool.take();
        int raw = cipher.codec().encode(tli, segno, from, s.bytes, at, size, exact, s.bytes, at);
        pool.giveBack(cipher);
        if (raw == WalCodec.AMBIGUOUS) {
          log.error("{}: a WAL word at {} equals its keystream", c.name(), from);
          return -Errno.EIO;
        }
        rawWords += raw;
      }
      from = stop;
    }
    Memory.copyIn(s.bytes, 0, s.io, n);
    long w = c.backing.pwrite(c.fd, s.io, n, start);
    if (w < 0) {
      c.refreshSize(s);
      return (int) w;
    }
    c.size = Math.max(c.size, end);
    return rawWords;
  }

  /** Before a write behind the page written last: no raw words may stay in that page. */
  private int finishLastPage(WalContent next, long offset) {
    WalContent c = last.content;
    if (c == null || !last.holdsRawWords) {
      return 0;
    }
    boolean behind = c != next || offset >= last.offset + PAGE;
    if (!behind) {
      return 0;
    }
    int r = 0;
    if (!c.isClosed()) {
      int tli = c.timeline();
      long segno = c.segmentNumber(segmentSize);
      r = Math.min(0, store(c, tli, segno, last.clear, last.offset, PAGE, last.offset + PAGE));
    }
    if (r >= 0) {
      last.content = null;
    }
    return r;
  }

  /** Decodes what is there in [first, stop) to {@link #onDisk}, zeros behind the end. */
  private int loadOnDisk(WalContent c, int tli, long segno, long first, long stop) {
    Scratch s = Scratch.get();
    Arrays.fill(onDisk, 0, (int) (stop - first), (byte) 0);
    int have = (int) Math.max(0, Math.min(stop, c.size) - first);
    if (have > 0) {
      long got = c.backing.pread(c.fd, s.io, have, first);
      if (got < 0) {
        return (int) got;
      }
      Memory.copyOut(s.io, onDisk, 0, (int) got);
      decode(tli, segno, first, onDisk, 0, (int) got);
    }
    return 0;
  }

  /**
   * Segment offset of the first byte in [from, to) where {@link #clear} and {@link #onDisk}, which
   * both begin at {@code first}, differ; -1 if none does.
   */
  private long firstDifference(long first, long from, long to) {
    int a = (int) (from - first);
    int b = (int) (to - first);
    int d = Arrays.mismatch(clear, a, b, onDisk, a, b);
    return d < 0 ? -1 : from + d;
  }

  /** Nothing in this write differs from what is there; the file may have to become longer. */
  private int extendWithZeros(WalContent c, int tli, long segno, long offset, long end) {
    if (end > c.size) {
      int r = padWord(c, tli, segno, end);
      if (r < 0) {
        return r;
      }
      long from = Math.max(offset, c.size);
      long whole = end - end % WORD;
      if (whole > from) {
        Scratch s = Scratch.get();
        Memory.fill(s.io, whole - from, 0);
        long w = c.backing.pwrite(c.fd, s.io, whole - from, from);
        if (w < 0) {
          c.refreshSize(s);
          return (int) w;
        }
        c.size = whole;
      }
      r = zeroCutWord(c, tli, segno, end);
      if (r < 0) {
        return r;
      }
    }
    return (int) (end - offset);
  }

  /**
   * A word that the file's end cuts is stored without the raw-zero rule. Before the file grows to
   * {@code newSize} it is encoded anew, with zeros behind the old end.
   */
  private int padWord(WalContent c, int tli, long segno, long newSize) {
    int part = (int) (c.size % WORD);
    if (part == 0 || newSize <= c.size) {
      return 0;
    }
    long start = c.size - part;
    byte[] word = new byte[WORD];
    int r = loadWord(c, tli, segno, start, word, 0, part, true);
    int n = (int) Math.min(WORD, newSize - start);
    return r < 0 ? r : Math.min(0, store(c, tli, segno, word, start, n, start));
  }

  /** The new end {@code size} cuts a word of zeros, which the file does not hold yet. */
  private int zeroCutWord(WalContent c, int tli, long segno, long size) {
    int part = (int) (size % WORD);
    return part == 0 || c.size >= size
        ? 0
        : Math.min(0, store(c, tli, segno, new byte[WORD], size - part, part, size));
  }

  /** Before the backing file grows with zeros: see {@link #padWord}. */
  synchronized int beforeGrowth(WalContent c, long newSize) {
    return segmentSize == 0 ? 0 : padWord(c, c.timeline(), c.segmentNumber(segmentSize), newSize);
  }

  /** After it has grown: a word that the new end cuts is encoded. */
  synchronized int afterGrowth(WalContent c, long newSize) {
    return segmentSize == 0
        ? 0
        : zeroCutWord(c, c.timeline(), c.segmentNumber(segmentSize), newSize);
  }

  /**
   * Gives the new run its range, from the byte at segment offset {@code differs} on. Returns
   * whether that byte is now governed by it; false: it lies before the newest range.
   */
  private boolean placeRange(int tli, long base, long differs) throws KeyException {
    Governed[] all = ranges;
    WalRange newest = all.length == 0 ? null : all[all.length - 1].range;
    long lsn = base + differs - differs % WORD;
    if (newest != null && compare(tli, lsn, newest.tli(), newest.startLsn()) < 0) {
      warnRewritten(tli, base);
      return false;
    }
    boolean encrypt = encryptionWanted.getAsBoolean();
    WalRange.Type type = encrypt ? WalRange.Type.ENCRYPTED : WalRange.Type.UNENCRYPTED;
    if (!encrypt) {
      warnUnencrypted();
    }
    if (newest == null) {
      // Files may arrive in any order (a base backup): the first range begins before all of them.
      // Clear WAL has one too, or it would fall under the first key once encryption is switched on.
      append(type, FIRST_TIMELINE, FIRST_LSN);
    } else if (encrypt || newest.type() == WalRange.Type.ENCRYPTED) {
      append(type, tli, lsn);
    } else {
      runIsNew = false;
    }
    return true;
  }

  /** Once for each segment: pg_tde's ranges are ordered, a new one would take away what follows. */
  private void warnRewritten(int tli, long segmentStart) {
    if (segmentStart == lastRewritten) {
      return;
    }
    lastRewritten = segmentStart;
    log.warn(
        "WAL of timeline {}, segment at {}, before the newest range, is written again with other"
            + " content; it stays under its old key, so a copy of the cipher directory from before"
            + " shows where they differ",
        Integer.toUnsignedString(tli),
        lsn(segmentStart));
  }

  private void warnUnencrypted() {
    log.warn("pg_tde.wal_encrypt is off: WAL is written in the clear from now on ({})", runReason);
  }

  private void append(WalRange.Type type, int tli, long lsn) throws KeyException {
    beforeRange.run();
    WalRange r = keys.append(type, cipherType, tli, lsn);
    reload();
    runIsNew = false;
    log.info(
        "WAL range {} {} begins at timeline {} LSN {} ({})",
        r.index(),
        type,
        tli,
        lsn(lsn),
        runReason);
  }

  /** PostgreSQL's spelling of an LSN. */
  private static String lsn(long lsn) {
    return "%X/%X".formatted(lsn >>> 32, lsn & 0xffffffffL);
  }

  /**
   * Completes a word of which the write holds a part: reads the word at {@code wordStart}, decodes
   * it and fills the bytes that the write does not bring.
   *
   * @param part bytes before the write's first one ({@code leading}) or up to its last one
   */
  private int loadWord(
      WalContent c,
      int tli,
      long segno,
      long wordStart,
      byte[] b,
      int at,
      int part,
      boolean leading) {
    byte[] word = new byte[WORD];
    int have = (int) Math.max(0, Math.min(WORD, c.size - wordStart));
    if (have > 0) {
      Scratch s = Scratch.get();
      long got = c.backing.pread(c.fd, s.io, have, wordStart);
      if (got < 0) {
        return (int) got;
      }
      Memory.copyOut(s.io, word, 0, (int) got);
      decode(tli, segno, wordStart, word, 0, (int) got);
    }
    if (leading) {
      System.arraycopy(word, 0, b, at, part);
    } else {
      System.arraycopy(word, part, b, at + part, WORD - part);
    }
    return 0;
  }

  /** The file is closed, cut or renamed: its last page is nothing to come back to. */
  synchronized void forget(WalContent c) {
    if (last.content == c) {
      last.content = null;
    }
  }

  /** Whether the page that was written last is in this file. */
  synchronized boolean wroteLastTo(WalContent c) {
    return last.content == c;
  }

  synchronized void close() {
    for (Governed g : ranges) {
      if (g.ciphers() != null) {
        g.ciphers().close();
      }
    }
    Arrays.fill(clear, (byte) 0);
    Arrays.fill(onDisk, (byte) 0);
    Arrays.fill(last.clear, (byte) 0);
  }
}
