package io.pgveil.datadir;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import java.util.zip.CRC32C;

/** Makes clear WAL as PostgreSQL lays it out: page headers and records with a right CRC. */
final class WalPages {
  static final int PAGE = 8192;
  private static final int LONG_HEADER = 40;
  private static final int SHORT_HEADER = 24;

  private final int timeline;
  private final int segmentSize;
  private final Random random;

  /** The clear bytes of the stream from {@link #start} on. */
  byte[] stream = new byte[0];

  final long start;

  /** End of what was inserted, relative to {@link #start}. */
  int end;

  /** Ends of the records, aligned, relative to {@link #start}. */
  final java.util.List<Integer> ends = new java.util.ArrayList<>();

  WalPages(int timeline, long start, int segmentSize, int seed) {
    this.timeline = timeline;
    this.start = start;
    this.segmentSize = segmentSize;
    this.random = new Random(seed);
  }

  /** Goes on from a copy of another stream's first {@code upTo} bytes. */
  WalPages(WalPages from, int upTo, int timeline, int seed) {
    this(timeline, from.start, from.segmentSize, seed);
    stream = java.util.Arrays.copyOf(from.stream, (upTo + PAGE - 1) / PAGE * PAGE);
    java.util.Arrays.fill(stream, upTo, stream.length, (byte) 0);
    end = upTo;
  }

  /** A segment with records in its first pages, zeros behind. */
  static byte[] segment(int timeline, int number, int size, int records) {
    WalPages w = new WalPages(timeline, (long) number * size, size, timeline * 1000 + number);
    for (int i = 0; i < records; i++) {
      w.record(w.random.nextInt(3000));
    }
    return java.util.Arrays.copyOf(w.stream, size);
  }

  private void pageHeader(int remaining) {
    long lsn = start + end;
    int at = end;
    stream = java.util.Arrays.copyOf(stream, at + PAGE);
    boolean isLong = lsn % segmentSize == 0;
    ByteBuffer b = ByteBuffer.wrap(stream, at, LONG_HEADER).order(ByteOrder.LITTLE_ENDIAN);
    b.putShort((short) 0xD113);
    b.putShort((short) ((remaining > 0 ? 1 : 0) | (isLong ? 2 : 0)));
    b.putInt(timeline);
    b.putLong(lsn);
    b.putInt(remaining);
    b.putInt(0);
    if (isLong) {
      b.putLong(0x1122334455667788L);
      b.putInt(segmentSize);
      b.putInt(PAGE);
    }
    end = at + (isLong ? LONG_HEADER : SHORT_HEADER);
  }

  /** Inserts a record with {@code payload} bytes, about half of them zeros. */
  void record(int payload) {
    byte[] r = new byte[24 + payload];
    random.nextBytes(r);
    for (int i = 24; i + 8 <= r.length; i += 8) {
      if (random.nextBoolean()) {
        java.util.Arrays.fill(r, i, i + 8, (byte) 0);
      }
    }
    ByteBuffer b = ByteBuffer.wrap(r).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(0, r.length);
    b.putInt(20, 0);
    CRC32C crc = new CRC32C();
    crc.update(r, 24, r.length - 24);
    crc.update(r, 0, 20);
    b.putInt(20, (int) crc.getValue());
    int done = 0;
    while (done < r.length) {
      if (end % PAGE == 0) {
        pageHeader(done == 0 ? 0 : r.length - done);
      }
      int n = Math.min(r.length - done, PAGE - end % PAGE);
      System.arraycopy(r, done, stream, end, n);
      done += n;
      end += n;
    }
    end = (end + 7) / 8 * 8;
    ends.add(end);
  }
}
