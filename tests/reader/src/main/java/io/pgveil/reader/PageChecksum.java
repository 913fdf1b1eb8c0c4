package io.pgveil.reader;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * PostgreSQL's checksum of data pages: 32 sums side by side over the page's 2048 words of 32 bits
 * (word {@code n} goes to sum {@code n mod 32}), each a variant of FNV-1a that folds the high bits
 * back in, then two rounds of zeros to mix the last words. The sums are XORed, then XOR the block
 * number, and reduced to 1..65535. The checksum's own field counts as zero.
 */
public final class PageChecksum {
  private static final int SUMS = 32;
  private static final int PRIME = 16777619;

  /** Offset of {@code pd_checksum}, 2 bytes, in a page. */
  private static final int FIELD = 8;

  /** Offset of {@code pd_upper}, 2 bytes: zero in a page that was never initialised. */
  private static final int UPPER = 14;

  private static final int[] SEEDS = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756
  };

  private PageChecksum() {}

  /** The checksum that a page of 8192 bytes must bear as block {@code block} of its fork. */
  public static int compute(byte[] page, long block) {
    ByteBuffer words = ByteBuffer.wrap(page.clone()).order(ByteOrder.LITTLE_ENDIAN);
    words.putShort(FIELD, (short) 0);
    int[] sums = SEEDS.clone();
    for (int i = 0; i < Pages.SIZE / 4; i++) {
      sums[i % SUMS] = mix(sums[i % SUMS], words.getInt(4 * i));
    }
    int result = 0;
    for (int sum : sums) {
      result ^= mix(mix(sum, 0), 0);
    }
    return Integer.remainderUnsigned(result ^ (int) block, 65535) + 1;
  }

  private static int mix(int sum, int word) {
    int mixed = sum ^ word;
    return mixed * PRIME ^ (mixed >>> 17);
  }

  /** The checksum that the page bears. */
  public static int stored(byte[] page) {
    return new Source("page", page).u16(FIELD);
  }

  /** What {@link #check} found: {@code fresh} pages are all zero and bear no checksum. */
  public record Checked(int right, int fresh) {}

  /**
   * Checks every page of a clear file.
   *
   * @param segment number of the file within its fork, from 0
   */
  public static Checked check(String file, byte[] clear, int segment) {
    Source in = new Source(file, clear);
    int right = 0;
    int fresh = 0;
    for (int at = 0; at + Pages.SIZE <= clear.length; at += Pages.SIZE) {
      if (in.u16(at + UPPER) == 0) {
        in.requireZero(at, at + Pages.SIZE, "page without content");
        fresh++;
      } else {
        long block = (long) segment * Pages.PER_SEGMENT + at / Pages.SIZE;
        int computed = compute(in.array(at, Pages.SIZE), block);
        int stored = in.u16(at + FIELD);
        in.require(
            stored == computed, at + FIELD, "checksum " + computed + " of block " + block, stored);
        right++;
      }
    }
    return new Checked(right, fresh);
  }
}
