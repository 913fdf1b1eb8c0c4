package io.pgveil.datadir.check;

import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * Follows the records through consecutive WAL pages with right headers and checks the CRC-32C of
 * each. A record begins at a multiple of 8: total length 0 (4 bytes), transaction 4, previous
 * record 8, flags 16 (1 byte), resource manager 17 (1), CRC 20 (4 bytes) over the bytes from 24 on,
 * then 0..19 (access/xlogrecord.h). Needs no memory for a record.
 */
final class WalRecords {
  private static final int HEADER = 24;
  private static final int INFO_AT = 16;
  private static final int RMGR_AT = 17;
  private static final int CRC_AT = 20;
  private static final int RM_XLOG = 0;
  private static final int XLOG_SWITCH = 0x40;

  private final CRC32C crc = new CRC32C();
  private final byte[] header = new byte[HEADER];
  private int headerBytes;

  /** Bytes of the present record or, while there is none, of one to skip that are still to come. */
  private long missing;

  private boolean inRecord;
  private boolean synced;
  private boolean ended;
  private long start;
  private long end;
  private long count;

  /** Forgets the present record: the next page is not the one behind the last. */
  void lose() {
    missing = 0;
    inRecord = false;
    synced = false;
    ended = false;
  }

  /** Whether the last record ended the segment early. */
  boolean ended() {
    return ended;
  }

  /** End of the last record that was right, 0 if there was none. */
  long end() {
    return end;
  }

  long count() {
    return count;
  }

  /**
   * Takes one page in.
   *
   * @return what is wrong, null if nothing is; then {@link #lose} is called before the next page
   */
  @Nullable String page(byte[] b, int at, WalPageHeader h, long lsn) {
    if (h.isLong()) {
      ended = false;
    }
    if (h.isOverwritten()) {
      missing = 0;
      inRecord = false;
    } else if (synced && (missing != 0) != h.isContinued()) {
      return missing != 0
          ? "the record at " + Lsn.text(start) + " is not continued"
          : "it continues a record that ended before";
    }
    long rest = h.isContinued() ? Integer.toUnsignedLong(h.remaining()) : 0;
    if (!synced) {
      missing = rest;
      synced = true;
    } else if (h.isContinued() && rest != missing) {
      return "of the record at %s %d bytes are missing, the page has %d"
          .formatted(Lsn.text(start), missing, rest);
    }
    int p = h.size();
    while (true) {
      int n = (int) Math.min(missing, WalPageHeader.PAGE - p);
      if (inRecord) {
        feed(b, at + p, n);
      }
      p += n;
      missing -= n;
      if (missing > 0) {
        return null;
      }
      if (inRecord) {
        inRecord = false;
        if (!isRight()) {
          return "the record at " + Lsn.text(start) + " has a wrong CRC";
        }
        count++;
        ended = isSwitch();
      }
      p = p + 7 & -8;
      if (count > 0) {
        end = lsn + p;
      }
      if (ended || p >= WalPageHeader.PAGE) {
        return null;
      }
      int length = Bytes.getInt(b, at + p);
      start = lsn + p;
      if (length < HEADER) {
        return "the record at " + Lsn.text(start) + " has length " + length;
      }
      missing = length;
      inRecord = true;
      headerBytes = 0;
      crc.reset();
    }
  }

  private void feed(byte[] b, int at, int n) {
    int h = Math.min(n, HEADER - headerBytes);
    System.arraycopy(b, at, header, headerBytes, h);
    headerBytes += h;
    crc.update(b, at + h, n - h);
  }

  /** Whether the present record is XLOG_SWITCH. */
  private boolean isSwitch() {
    return header[RMGR_AT] == RM_XLOG && (header[INFO_AT] & 0xf0) == XLOG_SWITCH;
  }

  private boolean isRight() {
    crc.update(header, 0, CRC_AT);
    return (int) crc.getValue() == Bytes.getInt(header, CRC_AT);
  }
}
