package io.pgveil.ciphers;

import java.util.Arrays;
import java.util.Objects;

/**
 * Encrypts the pages of one relation as pg_tde does: AES-CBC without padding over each whole page
 * of 8192 bytes, page header and checksum included.
 *
 * <p>The IV of a page is the relation's base IV with the fork number XORed into byte 7 (the init
 * fork counts as the main fork, because PostgreSQL copies the one onto the other byte for byte) and
 * the relation-wide block number, big-endian, into bytes 12..15. Source: pg_tde format, section 2.
 *
 * <p>An all-zero page is stored as zeros. pg_tde takes a page for clear when its first 32 bytes are
 * zero; here all 8192 must be, otherwise whoever can write to the disk could choose 8160 bytes of
 * clear text. (A page that encrypts to 8192 zeros would be misread; its chance is
 * 2<sup>-65536</sup>.)
 *
 * <p>What CBC with a fixed IV shows to who has two versions of a page: the position of the first
 * block that differs. A page is not authenticated.
 */
public final class PageCipher implements AutoCloseable {
  /** Bytes per page (PostgreSQL's BLCKSZ). */
  public static final int PAGE_SIZE = 8192;

  public static final int FORK_MAIN = 0;
  public static final int FORK_FSM = 1;
  public static final int FORK_VM = 2;
  public static final int FORK_INIT = 3;

  private final Aes encrypt;
  private final Aes decrypt;

  /** The base IV as two little-endian words. */
  private final long iv0;

  private final long iv1;
  private final byte[] scratch = new byte[PAGE_SIZE];

  /**
   * @param key the relation's internal key, 16 or 32 bytes, copied
   * @param baseIv the relation's base IV, 16 bytes
   */
  public PageCipher(byte[] key, byte[] baseIv) {
    Aes.checkKeyAndIv(key, baseIv);
    encrypt = Aes.cbcEncrypt(key);
    decrypt = Aes.cbcDecrypt(key);
    iv0 = Bytes.getLong(baseIv, 0);
    iv1 = Bytes.getLong(baseIv, 8);
  }

  /**
   * Encrypts the page {@code page[offset .. offset+8192)} to {@code out[outOffset ..)}.
   *
   * @param fork {@link #FORK_MAIN} .. {@link #FORK_INIT}
   * @param block number of the page in the whole relation (not in the segment), an unsigned int
   */
  public void encrypt(byte[] page, int offset, int fork, int block, byte[] out, int outOffset) {
    check(page, offset, fork, out, outOffset);
    if (Bytes.isZero(page, offset, PAGE_SIZE)) {
      Arrays.fill(out, outOffset, outOffset + PAGE_SIZE, (byte) 0);
      return;
    }
    System.arraycopy(page, offset, scratch, 0, PAGE_SIZE);
    xorIv(scratch, 0, fork, block);
    encrypt.run(scratch, 0, PAGE_SIZE, out, outOffset);
  }

  /** The inverse of {@link #encrypt}. */
  public void decrypt(byte[] page, int offset, int fork, int block, byte[] out, int outOffset) {
    check(page, offset, fork, out, outOffset);
    if (Bytes.isZero(page, offset, PAGE_SIZE)) {
      Arrays.fill(out, outOffset, outOffset + PAGE_SIZE, (byte) 0);
      return;
    }
    if (page == out) {
      System.arraycopy(page, offset, scratch, 0, PAGE_SIZE);
      decrypt.run(scratch, 0, PAGE_SIZE, out, outOffset);
    } else {
      decrypt.run(page, offset, PAGE_SIZE, out, outOffset);
    }
    xorIv(out, outOffset, fork, block);
  }

  private static void check(byte[] page, int offset, int fork, byte[] out, int outOffset) {
    Objects.checkFromIndexSize(offset, PAGE_SIZE, page.length);
    Objects.checkFromIndexSize(outOffset, PAGE_SIZE, out.length);
    if (fork < FORK_MAIN || fork > FORK_INIT) {
      throw new IllegalArgumentException("fork number " + fork + ", want 0..3");
    }
  }

  /** With CBC's own IV zero, an IV is the same as a XOR of the first clear block. */
  private void xorIv(byte[] a, int offset, int fork, int block) {
    long x0 = fork == FORK_INIT ? 0 : (long) fork << 56;
    long x1 = (long) Integer.reverseBytes(block) << 32;
    Bytes.putLong(a, offset, Bytes.getLong(a, offset) ^ iv0 ^ x0);
    Bytes.putLong(a, offset + 8, Bytes.getLong(a, offset + 8) ^ iv1 ^ x1);
  }

  @Override
  public void close() {
    encrypt.close();
    decrypt.close();
    Arrays.fill(scratch, (byte) 0);
  }
}
