package io.pgveil.ciphers;

import java.util.Arrays;
import java.util.Objects;

/**
 * Turns clear WAL bytes into the bytes of a segment file and back, inside one ENCRYPTED range.
 *
 * <p>PostgreSQL rewrites the last page of its WAL many times, with a zero tail that fills up.
 * XORing zeros would put keystream on the disk that later hides real records. So:
 *
 * <ul>
 *   <li><b>Encode.</b> The first {@code exact} bytes of a write are XORed as pg_tde does. Behind
 *       them a <em>word</em> (8 bytes at a multiple of 8 in the segment) of zeros is stored as raw
 *       zeros; anything else is XORed. A whole all-zero page is always stored raw.
 *   <li><b>Decode</b> needs no context: a raw zero word is zeros, anything else is XORed.
 * </ul>
 *
 * <p>Only a non-zero word that equals its keystream cannot be told from a raw one (chance
 * 2<sup>-64</sup> per word); the encoder sees it and reports {@link #AMBIGUOUS}. So what decode
 * gives back never depends on {@code exact}: too small costs pg_tde's readers the page, too large
 * costs secrecy of the bytes that replace the zeros.
 *
 * <p><b>Words that a call has only in part</b> (at its beginning or end) are XORed byte for byte by
 * both directions, never stored or taken as raw. That is right for a word astride the border of two
 * ranges, of which each codes its own bytes, and only there. At any other place the other half of
 * the word may be raw, and the two halves would be told apart wrongly; so the caller
 *
 * <ul>
 *   <li>widens a read to whole words, and
 *   <li>makes a write whole by reading the words at its edges, decoding them, putting the new bytes
 *       in and encoding them with {@link #encodeWords}. The rest of such a word is then zeros that
 *       are XORed: at most 7 bytes of keystream, for as long as the word stays half written.
 * </ul>
 *
 * <p>The codec borrows the {@link WalCipher}: not thread-safe, one user of both at a time.
 */
public final class WalCodec {
  /** Result of encode: a non-zero word would be stored as zeros; nothing may be written. */
  public static final int AMBIGUOUS = -1;

  private static final int WORD = 8;

  private final WalCipher cipher;

  public WalCodec(WalCipher cipher) {
    this.cipher = cipher;
  }

  /**
   * Encodes one write.
   *
   * @param tli timeline of the segment file, at most 65535
   * @param segmentNumber the segment's number
   * @param offset where in the segment the first byte belongs
   * @param size bytes; a word that is not wholly in {@code [offset, offset+size)} must be astride a
   *     range border (see above)
   * @param exact how many of them pg_tde's readers must be able to read, usually {@link
   *     WalPage#exactBytes}; {@code size} for a write without page context
   * @return how many words were left raw outside all-zero pages (if it is not 0, the page has to be
   *     encoded again with {@code exact} = 8192 before a write begins behind it); or {@link
   *     #AMBIGUOUS}, then {@code out} is worthless and the write has to fail
   */
  public int encode(
      int tli,
      long segmentNumber,
      long offset,
      byte[] clear,
      int clearOffset,
      int size,
      int exact,
      byte[] out,
      int outOffset) {
    check(tli, offset, clear, clearOffset, size, out, outOffset);
    if (exact < 0 || exact > size) {
      throw new IllegalArgumentException("exact is " + exact + ", want 0.." + size);
    }
    int raw = 0;
    for (int done = 0; done < size; ) {
      int n = pieceAt(offset + done, size - done);
      int from = clearOffset + done;
      int to = outOffset + done;
      if (n == WalPage.SIZE && Bytes.isZero(clear, from, n)) {
        Arrays.fill(out, to, to + n, (byte) 0);
      } else {
        int pieceRaw =
            encodePiece(tli, segmentNumber, offset + done, clear, from, n, exact - done, out, to);
        if (pieceRaw == AMBIGUOUS) {
          return AMBIGUOUS;
        }
        raw += pieceRaw;
      }
      done += n;
    }
    return raw;
  }

  /** {@link #encode} for whole words only: refuses an offset or size that is no multiple of 8. */
  public int encodeWords(
      int tli,
      long segmentNumber,
      long offset,
      byte[] clear,
      int clearOffset,
      int size,
      int exact,
      byte[] out,
      int outOffset) {
    if (((offset | size) & (WORD - 1)) != 0) {
      throw new IllegalArgumentException("bytes " + offset + " + " + size + " are not whole words");
    }
    return encode(tli, segmentNumber, offset, clear, clearOffset, size, exact, out, outOffset);
  }

  /** Decodes a byte range; a word that is not wholly in it must be astride a range border. */
  public void decode(
      int tli,
      long segmentNumber,
      long offset,
      byte[] stored,
      int storedOffset,
      int size,
      byte[] out,
      int outOffset) {
    check(tli, offset, stored, storedOffset, size, out, outOffset);
    for (int done = 0; done < size; ) {
      int n = pieceAt(offset + done, size - done);
      int from = storedOffset + done;
      int to = outOffset + done;
      if (n == WalPage.SIZE && Bytes.isZero(stored, from, n)) {
        Arrays.fill(out, to, to + n, (byte) 0);
      } else {
        decodePiece(tli, segmentNumber, offset + done, stored, from, n, out, to);
      }
      done += n;
    }
  }

  private static void check(
      int tli, long offset, byte[] in, int inOffset, int size, byte[] out, int outOffset) {
    WalCipher.check(tli, offset, size);
    Objects.checkFromIndexSize(inOffset, size, in.length);
    Objects.checkFromIndexSize(outOffset, size, out.length);
  }

  /** How many of the next {@code size} bytes lie on the page of {@code offset}. */
  private static int pieceAt(long offset, int size) {
    return Math.min(size, WalPage.SIZE - (int) (offset % WalPage.SIZE));
  }

  /** The bytes before the first whole word. */
  private static int headOf(long offset, int size) {
    return Math.min(size, (int) (-offset & (WORD - 1)));
  }

  private int encodePiece(
      int tli,
      long segmentNumber,
      long offset,
      byte[] clear,
      int from,
      int size,
      int exact,
      byte[] out,
      int to) {
    byte[] stream = cipher.stream;
    int s = cipher.generate(tli, segmentNumber, offset, size);
    int i = headOf(offset, size);
    Bytes.xor(clear, from, stream, s, out, to, i);
    int raw = 0;
    for (; i + WORD <= size; i += WORD) {
      long word = Bytes.getLong(clear, from + i);
      long stored = word ^ Bytes.getLong(stream, s + i);
      if (word == 0 && i >= exact) {
        stored = 0;
        raw++;
      } else if (stored == 0 && word != 0) {
        return AMBIGUOUS;
      }
      Bytes.putLong(out, to + i, stored);
    }
    Bytes.xor(clear, from + i, stream, s + i, out, to + i, size - i);
    return raw;
  }

  private void decodePiece(
      int tli,
      long segmentNumber,
      long offset,
      byte[] stored,
      int from,
      int size,
      byte[] out,
      int to) {
    byte[] stream = cipher.stream;
    int s = cipher.generate(tli, segmentNumber, offset, size);
    int i = headOf(offset, size);
    Bytes.xor(stored, from, stream, s, out, to, i);
    for (; i + WORD <= size; i += WORD) {
      long word = Bytes.getLong(stored, from + i);
      Bytes.putLong(out, to + i, word == 0 ? 0 : word ^ Bytes.getLong(stream, s + i));
    }
    Bytes.xor(stored, from + i, stream, s + i, out, to + i, size - i);
  }
}
