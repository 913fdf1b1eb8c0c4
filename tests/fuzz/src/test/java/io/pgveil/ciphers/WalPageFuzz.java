package io.pgveil.ciphers;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * What PostgreSQL writes to the WAL: where records end, and that every write reads back. An input:
 * flags (1: mend the CRC of the first record, 2: whole pages), timeline (2), segment (4), offset in
 * the segment (4), the write.
 */
public final class WalPageFuzz {
  private static final int SEGMENT = 1 << 20;
  private static final WalCipher CIPHER = new WalCipher(new byte[16], new byte[16]);
  private static final WalCodec CODEC = new WalCodec(CIPHER);

  private WalPageFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    int tli = bits.u16();
    long segment = Integer.toUnsignedLong(bits.i32());
    long offset = Integer.toUnsignedLong(bits.i32()) % SEGMENT;
    byte[] clear = bits.rest();
    if ((mode & 2) != 0) {
      offset = offset / WalPage.SIZE * WalPage.SIZE;
      int pages = Math.max(1, (clear.length + WalPage.SIZE - 1) / WalPage.SIZE);
      clear = Arrays.copyOf(clear, pages * WalPage.SIZE);
      if ((mode & 1) != 0) {
        mend(clear, clear.length - WalPage.SIZE);
      }
      int end = WalPage.recordEnd(clear, clear.length - WalPage.SIZE);
      Violation.unless(end >= 0 && end <= WalPage.SIZE && end % 8 == 0, "end of records " + end);
    }
    int exact = WalPage.exactBytes(offset, clear, 0, clear.length);
    Violation.unless(exact >= 0 && exact <= clear.length, "exact " + exact);
    byte[] cipher = new byte[clear.length];
    int raw = CODEC.encode(tli, segment, offset, clear, 0, clear.length, exact, cipher, 0);
    if (raw == WalCodec.AMBIGUOUS || offset % 8 != 0 || clear.length % 8 != 0) {
      return;
    }
    byte[] back = new byte[clear.length];
    CODEC.decode(tli, segment, offset, cipher, 0, cipher.length, back, 0);
    Violation.unless(Arrays.equals(clear, back), "it reads otherwise");
  }

  /** Gives the first record of a page the CRC that its bytes want. */
  private static void mend(byte[] page, int at) {
    int pos = at + ((page[at + 2] & 2) != 0 ? 40 : 24);
    int length = Bytes.getInt(page, pos);
    if (length >= 24 && length <= at + WalPage.SIZE - pos) {
      CRC32C crc = new CRC32C();
      crc.update(page, pos + 24, length - 24);
      crc.update(page, pos, 20);
      Bytes.putInt(page, pos + 20, (int) crc.getValue());
    }
  }
}
