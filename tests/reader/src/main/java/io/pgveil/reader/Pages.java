package io.pgveil.reader;

import java.util.Arrays;

/**
 * Relation files (spec 2): 8192-byte pages, each AES-CBC without padding. The IV is the relation's
 * base IV with byte 7 XOR the fork number (INIT counts as 0) and bytes 12..15 XOR the block number,
 * big-endian; blocks are counted through all segments.
 */
public final class Pages {
  /** Bytes of a page. */
  public static final int SIZE = 8192;

  /** Pages of a segment file: 1 GB. */
  public static final int PER_SEGMENT = 131072;

  private Pages() {}

  /**
   * A file, decrypted.
   *
   * @param clear content of the same size
   * @param encrypted number of pages that were encrypted
   * @param raw number of pages that stand in the clear (zeros)
   */
  public record Decrypted(Bytes clear, int encrypted, int raw) {}

  /**
   * Decrypts the whole content of one file.
   *
   * @param segment number of the file within its fork, from 0
   */
  public static Decrypted decrypt(
      String file, byte[] content, Secret key, Bytes baseIv, Fork fork, int segment, ReadAs as) {
    Source in = new Source(file, content);
    in.require(
        content.length % SIZE == 0,
        content.length - content.length % SIZE,
        "whole pages of 8192 bytes",
        content.length % SIZE + " bytes");
    byte[] clear = new byte[content.length];
    int raw = 0;
    int pages = content.length / SIZE;
    for (int i = 0; i < pages; i++) {
      byte[] page = Arrays.copyOfRange(content, i * SIZE, (i + 1) * SIZE);
      if (Source.isZero(page, 0, as == ReadAs.PG_TDE ? 32 : SIZE)) {
        raw++;
      } else {
        long block = (long) segment * PER_SEGMENT + i;
        page = Aes.cbcDecrypt(key, iv(baseIv, fork, block), page);
      }
      System.arraycopy(page, 0, clear, i * SIZE, SIZE);
    }
    return new Decrypted(Bytes.of(clear), pages - raw, raw);
  }

  /**
   * The IV of a page.
   *
   * @param block number in the whole fork
   */
  public static byte[] iv(Bytes baseIv, Fork fork, long block) {
    byte[] iv = baseIv.toArray();
    iv[7] ^= (byte) (fork == Fork.INIT ? 0 : fork.number());
    iv[12] ^= (byte) (block >>> 24);
    iv[13] ^= (byte) (block >>> 16);
    iv[14] ^= (byte) (block >>> 8);
    iv[15] ^= (byte) block;
    return iv;
  }
}
