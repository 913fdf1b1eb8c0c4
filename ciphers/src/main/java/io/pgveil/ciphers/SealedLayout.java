package io.pgveil.ciphers;

/**
 * Where the bytes of a sealed file are.
 *
 * <pre>
 *   0     .. 4096          header (SealedHeader)
 *   4096  .. 4096+512*n    n = ceil(L/512) units; the last one padded with clear zeros
 *   ...   .. S             slack, raw zeros: 1..512 bytes that are read only before growth
 * </pre>
 *
 * <p>S, the size on disk, is 0 for a file that never held data or was truncated to 0, otherwise the
 * clear length L plus 4608. The relation is linear so that any size between two that a crash may
 * leave stands for a length between the two lengths; and because the last unit is always whole,
 * what a unit decrypts to never depends on the length. All quantities are bytes unless named units.
 */
public final class SealedLayout {
  /** Bytes before the first unit. */
  public static final int HEADER = 4096;

  /** Bytes by which a file is longer than header and clear bytes. */
  public static final int SLACK = 512;

  /** Bytes per unit: a disk sector, so that a torn write damages what it would in the clear. */
  public static final int UNIT = 512;

  /** The greatest clear length that has a cipher size. */
  public static final long MAX_CLEAR_LENGTH = Long.MAX_VALUE - HEADER - SLACK;

  private SealedLayout() {}

  /** The clear length of a file of {@code cipherSize} bytes; 0 for a header without data. */
  public static long clearLength(long cipherSize) {
    return Math.max(0, cipherSize - HEADER - SLACK);
  }

  /** The size on disk of a file of {@code clearLength} bytes. */
  public static long cipherSize(long clearLength) {
    check(clearLength);
    return clearLength == 0 ? 0 : clearLength + HEADER + SLACK;
  }

  /** Where the clear byte {@code clearOffset} would be if the file were not encrypted. */
  public static long cipherOffset(long clearOffset) {
    check(clearOffset);
    return clearOffset + HEADER;
  }

  /** The unit that holds the clear byte {@code clearOffset}. */
  public static long unit(long clearOffset) {
    check(clearOffset);
    return clearOffset / UNIT;
  }

  /** Where {@code unit} begins on disk. */
  public static long unitOffset(long unit) {
    return cipherOffset(Math.multiplyExact(unit, UNIT));
  }

  /** How many units the clear bytes {@code [clearOffset, clearOffset+size)} touch. */
  public static long unitsFor(long clearOffset, long size) {
    check(clearOffset);
    check(size);
    if (size == 0) {
      return 0;
    }
    check(clearOffset + size);
    return (clearOffset + size - 1) / UNIT - clearOffset / UNIT + 1;
  }

  /** Where the slack of a file of {@code clearLength} bytes begins on disk. */
  public static long slackOffset(long clearLength) {
    return unitOffset(unitsFor(0, clearLength));
  }

  private static void check(long clear) {
    if (clear < 0 || clear > MAX_CLEAR_LENGTH) {
      throw new IllegalArgumentException("clear offset or length out of range: " + clear);
    }
  }
}
