package io.pgveil.datadir.check;

/**
 * PostgreSQL's checksum of a data page (storage/checksum_impl.h): the page is 64 rows of 32 words
 * of 4 bytes. Each column has a sum of its own, FNV-1a over its words with the bits that the
 * multiplication pushes out of the low half folded back in, then over two zero words; the sums are
 * XORed with each other and with the block number, and reduced to 1..65535.
 */
final class PageChecksum {
  private static final int COLUMNS = 32;
  private static final int ROWS = PageHeader.PAGE / (4 * COLUMNS);
  private static final int FNV_PRIME = 0x0100_0193;

  /** Initial sums: random numbers that are part of the format. */
  private static final int[] BASIS = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756
  };

  private PageChecksum() {}

  /**
   * The checksum of the page at {@code at}; its own field counts as zero.
   *
   * @param block number within the fork, unsigned
   */
  static int of(byte[] page, int at, int block) {
    int[] sums = BASIS.clone();
    for (int row = 0; row < ROWS; row++) {
      for (int column = 0; column < COLUMNS; column++) {
        int word = Bytes.getInt(page, at + 4 * (row * COLUMNS + column));
        if (row == 0 && 4 * column == PageHeader.CHECKSUM_AT) {
          // the field is the low half of its word
          word &= 0xffff_0000;
        }
        sums[column] = step(sums[column], word);
      }
    }
    int all = block;
    for (int sum : sums) {
      all ^= step(step(sum, 0), 0);
    }
    return Integer.remainderUnsigned(all, 65535) + 1;
  }

  private static int step(int sum, int word) {
    int x = sum ^ word;
    return x * FNV_PRIME ^ x >>> 17;
  }
}
