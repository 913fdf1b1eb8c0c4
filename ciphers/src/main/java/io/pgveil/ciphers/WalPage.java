package io.pgveil.ciphers;

import java.util.Objects;
import java.util.zip.CRC32C;

/**
 * Finds out how far a clear WAL page is filled with complete records.
 *
 * <p>Page header, little-endian: magic u16 at 0, info u16 at 2, timeline u32 at 4, address u64 at
 * 8, remaining length of a record continued from the page before u32 at 16; 24 bytes, or 40 with
 * XLP_LONG_HEADER. Records begin at multiples of 8: total length u32 at 0, ..., CRC-32C u32 at 20,
 * over the bytes from 24 on, then 0..19.
 */
public final class WalPage {
  /** Bytes per WAL page (PostgreSQL's XLOG_BLCKSZ). */
  public static final int SIZE = 8192;

  private static final int FIRST_IS_CONTRECORD = 1;
  private static final int LONG_HEADER = 2;
  private static final int SHORT_SIZE = 24;
  private static final int LONG_SIZE = 40;
  private static final int RECORD_HEADER = 24;
  private static final int RECORD_CRC = 20;

  private WalPage() {}

  /**
   * How many bytes of a write must be encrypted to the last one, for {@link WalCodec#encode}. Of a
   * write of whole pages all but the last are complete, since PostgreSQL waits for insertions below
   * its write point; the last one counts up to its {@link #recordEnd}. Any other write comes from a
   * WAL receiver, which writes nothing that it has not received: all of it.
   *
   * @param segmentOffset where in the segment the write begins
   */
  public static int exactBytes(long segmentOffset, byte[] clear, int offset, int size) {
    Objects.checkFromIndexSize(offset, size, clear.length);
    if (size == 0 || segmentOffset % SIZE != 0 || size % SIZE != 0) {
      return size;
    }
    int last = size - SIZE;
    return last + recordEnd(clear, offset + last);
  }

  /**
   * The end of the last complete record of the clear page {@code page[offset .. offset+8192)}: what
   * pg_tde's readers will want to read, and what no backend is still copying. A record that began
   * on an earlier page is complete if it ends on this one (its CRC cannot be checked here); one
   * that goes on to the next page is not. Without any record it is the end of the page header, and
   * 0 when there is no header (magic 0).
   *
   * <p>Data is never lost by a wrong answer; see {@link WalCodec}.
   *
   * @return 0..8192, a multiple of 8
   */
  public static int recordEnd(byte[] page, int offset) {
    Objects.checkFromIndexSize(offset, SIZE, page.length);
    if (Bytes.getShort(page, offset) == 0) {
      return 0;
    }
    int info = Bytes.getShort(page, offset + 2);
    int pos = (info & LONG_HEADER) != 0 ? LONG_SIZE : SHORT_SIZE;
    if ((info & FIRST_IS_CONTRECORD) != 0) {
      long remaining = Integer.toUnsignedLong(Bytes.getInt(page, offset + 16));
      if (remaining > SIZE - pos) {
        return pos;
      }
      pos += maxAlign((int) remaining);
    }
    CRC32C crc = new CRC32C();
    while (pos <= SIZE - RECORD_HEADER) {
      int length = Bytes.getInt(page, offset + pos);
      if (length < RECORD_HEADER || length > SIZE - pos) {
        break;
      }
      crc.reset();
      crc.update(page, offset + pos + RECORD_HEADER, length - RECORD_HEADER);
      crc.update(page, offset + pos, RECORD_CRC);
      if ((int) crc.getValue() != Bytes.getInt(page, offset + pos + RECORD_CRC)) {
        break;
      }
      pos += maxAlign(length);
    }
    return pos;
  }

  private static int maxAlign(int n) {
    return (n + 7) & -8;
  }
}
