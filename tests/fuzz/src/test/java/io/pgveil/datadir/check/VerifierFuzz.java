package io.pgveil.datadir.check;

import io.pgveil.datadir.WalFileName;
import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * {@code pgveil verify}: WAL pages and the records on them, after pg_control, in a cluster of
 * pg_tde. An input: flags (1: give pg_control a right CRC, 2: give WAL page headers the address
 * that is due, 4: the records their CRC, 8: with keys and WAL ranges, 16: with seal keys),
 * pg_control (length of 2 bytes, content), WAL (the rest; a segment of 1 MiB is filled up with
 * zeros).
 */
public final class VerifierFuzz {
  private static final FuzzCluster ENCRYPTED = new FuzzCluster("verifier").made().ofPgTde();
  private static final FuzzCluster SEALED = new FuzzCluster("verifier-sealed").made();
  private static final FuzzCluster CLEAR = new FuzzCluster("verifier-clear");
  private static final int SEGMENT = 1 << 20;
  private static final String WAL = "pg_wal/000000010000000000000010";

  private VerifierFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) throws KeyException {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] control = bits.block();
    byte[] wal = Arrays.copyOf(bits.rest(), SEGMENT);
    if ((mode & 1) != 0) {
      control = ControlDataFuzz.mend(control);
    }
    WalFileName name = WalFileName.parse("000000010000000000000010");
    long start = name == null ? 0 : name.segmentNumber(SEGMENT) * SEGMENT;
    if ((mode & 6) != 0) {
      mend(wal, start, (mode & 4) != 0);
    }
    FuzzCluster cluster = (mode & 16) != 0 ? SEALED : (mode & 8) != 0 ? ENCRYPTED : CLEAR;
    cluster.write("global/pg_control", control);
    cluster.write("base/5/1259", Arrays.copyOf(wal, 2 * 8192));
    cluster.write(WAL, wal);
    try (KeyDirectory keys = cluster.keys.open(true)) {
      Report report =
          new Verifier(cluster.root, keys, new Verifier.Options(List.of(), 1))
              .verify((done, total) -> {});
      for (Finding f : report.findings()) {
        Violation.unless(!f.toString().contains("could not be checked"), f.toString());
      }
    }
  }

  /** Gives page headers their address, and records, as far as they can be followed, their CRC. */
  private static void mend(byte[] wal, long start, boolean records) {
    for (int at = 0; at < wal.length; at += 8192) {
      if (Bytes.isZero(wal, at, 64)) {
        break;
      }
      putLong(wal, at + 8, start + at);
      int pos = at + ((wal[at + 2] & 2) != 0 ? 40 : 24);
      while (records && pos + 24 <= at + 8192) {
        int length = Bytes.getInt(wal, pos);
        if (length < 24 || length > at + 8192 - pos) {
          break;
        }
        CRC32C crc = new CRC32C();
        crc.update(wal, pos + 24, length - 24);
        crc.update(wal, pos, 20);
        putInt(wal, pos + 20, (int) crc.getValue());
        pos = (pos + length + 7) & -8;
      }
    }
  }

  private static void putInt(byte[] b, int at, int value) {
    for (int i = 0; i < 4; i++) {
      b[at + i] = (byte) (value >>> (8 * i));
    }
  }

  private static void putLong(byte[] b, int at, long value) {
    putInt(b, at, (int) value);
    putInt(b, at + 4, (int) (value >>> 32));
  }
}
