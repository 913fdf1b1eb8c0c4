package io.pgveil.datadir.check;

import io.pgveil.datadir.ControlData;
import io.pgveil.fuzz.Bits;
import java.util.Arrays;
import java.util.zip.CRC32C;

/** {@code global/pg_control}. First byte of an input: 1 give it a right CRC; then the file. */
public final class ControlDataFuzz {
  private ControlDataFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] file = bits.rest();
    if ((mode & 1) != 0) {
      file = mend(file);
    }
    ControlData data = ControlData.parse(file);
    if (data != null) {
      data.tornPageRisk();
    }
    ControlFile.isRight(file);
    ControlFile control = ControlFile.parse(file);
    if (control != null) {
      control.isShutDown();
      control.endsWithCheckpoint();
    }
  }

  /** A copy of at least 512 bytes with the CRC that the bytes want. */
  static byte[] mend(byte[] file) {
    byte[] mended = Arrays.copyOf(file, Math.max(512, file.length));
    int crcAt = Bytes.getInt(mended, 8) >= 1800 ? 292 : 288;
    CRC32C crc = new CRC32C();
    crc.update(mended, 0, crcAt);
    for (int i = 0; i < 4; i++) {
      mended[crcAt + i] = (byte) (crc.getValue() >>> (8 * i));
    }
    return mended;
  }
}
