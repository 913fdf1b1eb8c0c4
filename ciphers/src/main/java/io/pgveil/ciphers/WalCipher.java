package io.pgveil.ciphers;

import java.util.Arrays;
import java.util.Objects;

/**
 * The keystream of one WAL range, as pg_tde defines it: byte-addressable, encryption and decryption
 * are the same XOR. Which bytes of a segment are XORed at all is {@link WalCodec}'s business.
 *
 * <p>With N = bytes 0..11 of the base IV as a 96-bit big-endian number, its lowest bit cleared:
 *
 * <pre>
 *   N'           = (N + tli * 2^80 + segment number) mod 2^96
 *   keystream[j] = AES(key, N' as 12 bytes big-endian || j as 4 bytes little-endian)
 * </pre>
 *
 * where block j holds the bytes 16j .. 16j+15 of the segment file. Bytes 12..15 of the base IV are
 * not used. Source: pg_tde format, section 3.1.
 *
 * <p>pg_tde takes the timeline modulo 65536, so two timelines that differ by a multiple of it share
 * a keystream; a timeline above 65535 is refused here.
 */
public final class WalCipher implements AutoCloseable {
  /** The largest segment PostgreSQL allows, in bytes. */
  public static final long MAX_SEGMENT_SIZE = 1L << 30;

  /** The most bytes that one call of {@link #generate} makes. */
  static final int CHUNK = 8192;

  private final Aes aes;
  private final int high;
  private final long low;

  // A chunk that does not begin at a block border touches one block more.
  private final byte[] counters = new byte[CHUNK + Aes.BLOCK];

  /** What {@link #generate} made last. */
  final byte[] stream = new byte[CHUNK + Aes.BLOCK];

  /**
   * @param key the range's internal key, 16 or 32 bytes, copied
   * @param baseIv the range's base IV, 16 bytes
   */
  public WalCipher(byte[] key, byte[] baseIv) {
    Aes.checkKeyAndIv(key, baseIv);
    aes = Aes.ecbEncrypt(key);
    high = Integer.reverseBytes(Bytes.getInt(baseIv, 0));
    low = Long.reverseBytes(Bytes.getLong(baseIv, 4)) & ~1L;
  }

  /**
   * Writes the keystream of the bytes {@code [offsetInSegment, offsetInSegment+size)} of a segment.
   *
   * @param tli timeline of the segment file, at most 65535
   * @param segmentNumber the segment's number, LSN / segment size
   */
  public void keystream(
      int tli, long segmentNumber, long offsetInSegment, byte[] out, int outOffset, int size) {
    check(tli, offsetInSegment, size);
    Objects.checkFromIndexSize(outOffset, size, out.length);
    for (int done = 0; done < size; ) {
      int n = Math.min(CHUNK, size - done);
      int from = generate(tli, segmentNumber, offsetInSegment + done, n);
      System.arraycopy(stream, from, out, outOffset + done, n);
      done += n;
    }
  }

  /** XORs the keystream of a byte range of a segment into {@code buf}, in place. */
  public void apply(
      int tli, long segmentNumber, long offsetInSegment, byte[] buf, int bufOffset, int size) {
    check(tli, offsetInSegment, size);
    Objects.checkFromIndexSize(bufOffset, size, buf.length);
    for (int done = 0; done < size; ) {
      int n = Math.min(CHUNK, size - done);
      int from = generate(tli, segmentNumber, offsetInSegment + done, n);
      Bytes.xor(buf, bufOffset + done, stream, from, buf, bufOffset + done, n);
      done += n;
    }
  }

  static void check(int tli, long offset, int size) {
    if (tli >>> 16 != 0) {
      throw new IllegalArgumentException(
          "timeline "
              + Integer.toUnsignedString(tli)
              + " is above 65535: it would share its WAL keystream with another timeline");
    }
    if (offset < 0 || size < 0 || offset + size > MAX_SEGMENT_SIZE) {
      throw new IllegalArgumentException(
          "bytes " + offset + " + " + size + " are not inside a WAL segment of at most 1 GiB");
    }
  }

  /**
   * Makes the keystream of at most {@link #CHUNK} bytes in {@link #stream}; the caller has checked
   * the arguments.
   *
   * @return the index in {@link #stream} of the byte at {@code offset}
   */
  int generate(int tli, long segmentNumber, long offset, int size) {
    long low = this.low + segmentNumber;
    int carry = Long.compareUnsigned(low, segmentNumber) < 0 ? 1 : 0;
    int high = this.high + (tli << 16) + carry;
    long word0 =
        Integer.toUnsignedLong(Integer.reverseBytes(high))
            | (long) Integer.reverseBytes((int) (low >>> 32)) << 32;
    long word1 = Integer.toUnsignedLong(Integer.reverseBytes((int) low));

    long block = offset / Aes.BLOCK;
    int skip = (int) (offset % Aes.BLOCK);
    int bytes = (skip + size + Aes.BLOCK - 1) & -Aes.BLOCK;
    for (int i = 0; i < bytes; i += Aes.BLOCK, block++) {
      Bytes.putLong(counters, i, word0);
      Bytes.putLong(counters, i + 8, word1 | block << 32);
    }
    aes.run(counters, 0, bytes, stream, 0);
    return skip;
  }

  @Override
  public void close() {
    aes.close();
    Arrays.fill(stream, (byte) 0);
  }
}
