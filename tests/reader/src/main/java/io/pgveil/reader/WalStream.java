package io.pgveil.reader;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;

/** The WAL stream (spec 3): bytes XOR a keystream, by the key of the range they lie in. */
public final class WalStream {
  private static final int WORD = 8;

  private WalStream() {}

  /** Decrypts a whole segment. */
  public static byte[] decrypt(
      WalSegmentName segment, byte[] content, List<WalRange> ranges, ReadAs as) {
    if (content.length != segment.segmentSize()) {
      throw new FormatViolation(
          segment.name(),
          content.length,
          "a segment of " + segment.segmentSize() + " bytes",
          content.length + " bytes");
    }
    return decrypt(segment, 0, content, ranges, as);
  }

  /**
   * Decrypts a part of a segment.
   *
   * @param offset of the part in the segment; for {@link ReadAs#PGVEIL} a multiple of 8, and so
   *     must the part's length be
   */
  public static byte[] decrypt(
      WalSegmentName segment, int offset, byte[] part, List<WalRange> ranges, ReadAs as) {
    if (as == ReadAs.PGVEIL && (offset % WORD != 0 || part.length % WORD != 0)) {
      throw new IllegalArgumentException("not whole words: " + offset + ", " + part.length);
    }
    long dataStart = segment.startLsn() + offset;
    long dataEnd = dataStart + part.length;
    WalLocation start = new WalLocation(segment.timeline(), dataStart);
    WalLocation end = new WalLocation(segment.timeline(), dataEnd);
    byte[] clear = part.clone();
    for (WalRange range : ranges) {
      if (range.encrypted()
          && start.compareTo(range.end()) < 0
          && end.compareTo(range.start()) > 0) {
        long from =
            segment.timeline() > range.start().timeline()
                ? dataStart
                : max(dataStart, range.start().lsn());
        long to =
            segment.timeline() < range.end().timeline() ? dataEnd : min(dataEnd, range.end().lsn());
        if (Long.compareUnsigned(from, to) < 0) {
          decrypt(
              segment, offset, clear, (int) (from - dataStart), (int) (to - dataStart), range, as);
        }
      }
    }
    return clear;
  }

  /** Decrypts {@code data[from..to)}, which lies in one range; data[0] is at {@code offset}. */
  private static void decrypt(
      WalSegmentName segment,
      int offset,
      byte[] data,
      int from,
      int to,
      WalRange range,
      ReadAs as) {
    byte[] stream =
        keystream(
            range.key(),
            counterPrefix(range.baseIv(), segment.timeline(), segment.segment()),
            offset + from,
            to - from);
    int i = from;
    while (i < to) {
      boolean wholeWord = (offset + i) % WORD == 0 && i + WORD <= to;
      if (as == ReadAs.PGVEIL && wholeWord && Source.isZero(data, i, i + WORD)) {
        i += WORD;
      } else {
        int end = wholeWord ? i + WORD : i + 1;
        for (; i < end; i++) {
          data[i] ^= stream[i - from];
        }
      }
    }
  }

  /**
   * The first 12 bytes of the counter blocks of a segment: those of the base IV as a big-endian
   * number with its lowest bit cleared, plus (timeline mod 2^16) * 2^80, plus the segment number,
   * modulo 2^96.
   */
  public static Bytes counterPrefix(Bytes baseIv, long timeline, long segment) {
    byte[] sum =
        new BigInteger(1, Arrays.copyOf(baseIv.toArray(), 12))
            .clearBit(0)
            .add(BigInteger.valueOf(timeline % 65536).shiftLeft(80))
            .add(new BigInteger(Long.toUnsignedString(segment)))
            .mod(BigInteger.ONE.shiftLeft(96))
            .toByteArray();
    byte[] prefix = new byte[12];
    int n = Math.min(12, sum.length);
    System.arraycopy(sum, sum.length - n, prefix, 12 - n, n);
    return Bytes.of(prefix);
  }

  /**
   * Keystream for {@code length} bytes from {@code offset} in a segment: block j, of 16 bytes, is
   * AES(key, prefix || j as 32 bits little-endian).
   */
  public static byte[] keystream(Secret key, Bytes prefix, int offset, int length) {
    if (length == 0) {
      return new byte[0];
    }
    int first = offset / 16;
    int last = (offset + length - 1) / 16;
    ByteBuffer counters = ByteBuffer.allocate((last - first + 1) * 16);
    counters.order(ByteOrder.LITTLE_ENDIAN);
    for (int block = first; block <= last; block++) {
      counters.put(prefix.toArray()).putInt(block);
    }
    byte[] stream = Aes.encryptBlocks(key, counters.array());
    return Arrays.copyOfRange(stream, offset % 16, offset % 16 + length);
  }

  private static long max(long a, long b) {
    return Long.compareUnsigned(a, b) > 0 ? a : b;
  }

  private static long min(long a, long b) {
    return Long.compareUnsigned(a, b) < 0 ? a : b;
  }
}
