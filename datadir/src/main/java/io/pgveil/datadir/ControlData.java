package io.pgveil.datadir;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * What pgveil must know of {@code global/pg_control} (ControlFileData in catalog/pg_control.h; the
 * offsets below are the same in PostgreSQL 14 to 18 on 64-bit little-endian machines, and {@link
 * #parse} checks the constants in between).
 *
 * @param version pg_control_version
 * @param state cluster state, DBState
 * @param fullPageWrites full_page_writes at the last checkpoint
 * @param walLogHints wal_log_hints
 * @param blockSize BLCKSZ in bytes
 * @param segmentPages RELSEG_SIZE in pages
 * @param walSegmentSize in bytes
 * @param dataChecksums whether pages carry checksums
 */
public record ControlData(
    int version,
    int state,
    boolean fullPageWrites,
    boolean walLogHints,
    int blockSize,
    int segmentPages,
    int walSegmentSize,
    boolean dataChecksums) {

  /** Least number of bytes that {@link #parse} needs. */
  public static final int SIZE = 256;

  private static final double FLOAT_FORMAT = 1234567.0;

  /** Reads the first {@link #SIZE} bytes of a pg_control; null if they are not of this layout. */
  public static @Nullable ControlData parse(byte[] control) {
    if (control.length < SIZE) {
      return null;
    }
    ByteBuffer b = ByteBuffer.wrap(control).order(ByteOrder.LITTLE_ENDIAN);
    if (b.getDouble(208) != FLOAT_FORMAT || b.getInt(204) != 8 || !isSegmentSize(b.getInt(228))) {
      return null;
    }
    return new ControlData(
        b.getInt(8),
        b.getInt(16),
        b.get(56) != 0,
        b.get(176) != 0,
        b.getInt(216),
        b.getInt(220),
        b.getInt(228),
        b.getInt(252) != 0);
  }

  /** Whether PostgreSQL takes this number of bytes for the size of its WAL segments. */
  static boolean isSegmentSize(long n) {
    return n >= 1 << 20 && n <= 1 << 30 && Long.bitCount(n) == 1;
  }

  /**
   * Why this cluster could be damaged by torn pages under encryption, null if it could not: a page
   * is one CBC chain, so PostgreSQL's harmless torn writes are not harmless (hazard 10).
   */
  public @Nullable String tornPageRisk() {
    if (!fullPageWrites) {
      return "full_page_writes is off: turn it on and run a CHECKPOINT";
    }
    if (!dataChecksums && !walLogHints) {
      return "neither data checksums nor wal_log_hints are on: run pg_checksums --enable on the"
          + " stopped cluster, or set wal_log_hints = on and restart";
    }
    return null;
  }
}
