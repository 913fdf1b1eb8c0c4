package io.pgveil.datadir.check;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import java.util.zip.CRC32C;

/** Clear files as PostgreSQL would write them. */
final class ClearFiles {
  static final int WAL_SEGMENT = 1 << 20;
  static final long SYSTEM = 0x6b04fbacc4ad86a9L;

  private ClearFiles() {}

  /** A page with a right header and checksum. */
  static byte[] page(int block, long seed) {
    byte[] page = new byte[PageHeader.PAGE];
    new Random(seed).nextBytes(page);
    ByteBuffer b = ByteBuffer.wrap(page).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(0, 0).putInt(4, 0x01234568);
    b.putShort(10, (short) 4).putShort(12, (short) 28).putShort(14, (short) 4000);
    b.putShort(16, (short) 8192).putShort(18, (short) 0x2004).putInt(20, 0);
    b.putShort(PageHeader.CHECKSUM_AT, (short) PageChecksum.of(page, 0, block));
    return page;
  }

  /** Pages of a relation; those at odd numbers are zeros. */
  static byte[] relation(int pages, long seed) {
    byte[] file = new byte[pages * PageHeader.PAGE];
    for (int i = 0; i < pages; i += 2) {
      System.arraycopy(page(i, seed + i), 0, file, i * PageHeader.PAGE, PageHeader.PAGE);
    }
    return file;
  }

  static byte[] control(long checkpoint, int state) {
    ByteBuffer b = ByteBuffer.allocate(8192).order(ByteOrder.LITTLE_ENDIAN);
    b.putLong(0, SYSTEM).putInt(8, 1800).putInt(16, state);
    b.putLong(32, checkpoint).putLong(40, checkpoint).putInt(48, 1).putInt(52, 1);
    b.put(56, (byte) 1).putInt(204, 8).putDouble(208, 1234567.0);
    b.putInt(216, 8192).putInt(220, 131072).putInt(224, 8192).putInt(228, WAL_SEGMENT);
    b.putInt(252, 1).putInt(292, crc(b.array(), 292));
    return b.array();
  }

  static byte[] relationMap() {
    ByteBuffer b = ByteBuffer.allocate(524).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(0, 0x592717).putInt(4, 1).putInt(8, 1262).putInt(12, 1262);
    b.putInt(520, crc(b.array(), 520));
    return b.array();
  }

  private static int crc(byte[] b, int n) {
    CRC32C crc = new CRC32C();
    crc.update(b, 0, n);
    return (int) crc.getValue();
  }

  /** Writes records one behind the other, with page headers between. */
  static final class Wal {
    private final ByteBuffer b;
    private final long start;
    private final Random random = new Random(9);
    private int at;
    long lastRecord;

    /** From the start of segment {@code first}, room for {@code segments}. */
    Wal(int first, int segments) {
      start = (long) first * WAL_SEGMENT;
      b = ByteBuffer.allocate(segments * WAL_SEGMENT).order(ByteOrder.LITTLE_ENDIAN);
    }

    int at() {
      return at;
    }

    /** The bytes of one segment. */
    byte[] segment(int i) {
      byte[] s = new byte[WAL_SEGMENT];
      b.get(i * WAL_SEGMENT, s);
      return s;
    }

    void record(int dataSize) {
      record(dataSize, 10, 0x20);
    }

    /** XLOG_SWITCH: the rest of the segment stays zeros. */
    void switchSegment() {
      record(0, 0, 0x40);
      at = (at + WAL_SEGMENT - 1) / WAL_SEGMENT * WAL_SEGMENT;
    }

    private void record(int dataSize, int manager, int info) {
      byte[] record = new byte[24 + dataSize];
      random.nextBytes(record);
      ByteBuffer r = ByteBuffer.wrap(record).order(ByteOrder.LITTLE_ENDIAN);
      r.putInt(0, record.length).put(16, (byte) info).put(17, (byte) manager);
      CRC32C crc = new CRC32C();
      crc.update(record, 24, dataSize);
      crc.update(record, 0, 20);
      r.putInt(20, (int) crc.getValue());
      if (at % WalPageHeader.PAGE == 0) {
        header(0);
      }
      lastRecord = start + at;
      for (int done = 0; done < record.length; ) {
        if (at % WalPageHeader.PAGE == 0) {
          header(record.length - done);
        }
        int n = Math.min(record.length - done, WalPageHeader.PAGE - at % WalPageHeader.PAGE);
        b.put(at, record, done, n);
        done += n;
        at += n;
      }
      at = at + 7 & -8;
    }

    private void header(int remaining) {
      boolean first = at % WAL_SEGMENT == 0;
      b.putShort(at, (short) 0xD118);
      b.putShort(at + 2, (short) ((remaining == 0 ? 0 : 1) | (first ? 2 : 0)));
      b.putInt(at + 4, 1).putLong(at + 8, start + at).putInt(at + 16, remaining);
      if (first) {
        b.putLong(at + 24, SYSTEM).putInt(at + 32, WAL_SEGMENT).putInt(at + 36, 8192);
      }
      at += first ? 40 : 24;
    }
  }
}
