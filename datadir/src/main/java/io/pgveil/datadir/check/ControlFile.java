package io.pgveil.datadir.check;

import io.pgveil.datadir.ControlData;
import org.jspecify.annotations.Nullable;

/**
 * What a check needs of pg_control (catalog/pg_control.h).
 *
 * @param systemIdentifier offset 0
 * @param checkpoint LSN of the last checkpoint record, offset 32
 * @param checkpointTli its timeline, offset 48
 */
record ControlFile(ControlData data, long systemIdentifier, long checkpoint, int checkpointTli) {
  /** Bytes of the file that matter. */
  static final int LIMIT = 1024;

  private static final int DB_SHUTDOWNED = 1;
  private static final int DB_SHUTDOWNED_IN_RECOVERY = 2;

  /** Null if the bytes are not right. */
  static @Nullable ControlFile parse(byte[] b) {
    ControlData data = isRight(b) ? ControlData.parse(b) : null;
    return data == null
        ? null
        : new ControlFile(data, Bytes.getLong(b, 0), Bytes.getLong(b, 32), Bytes.getInt(b, 48));
  }

  /** Whether layout and CRC are right. The CRC moved when 18 got one more field. */
  static boolean isRight(byte[] b) {
    ControlData data = ControlData.parse(b);
    int crcAt = data != null && data.version() >= 1800 ? 292 : 288;
    return data != null && b.length >= crcAt + 4 && SealedCheck.crcIsRight(b, crcAt);
  }

  boolean isShutDown() {
    return data.state() == DB_SHUTDOWNED || data.state() == DB_SHUTDOWNED_IN_RECOVERY;
  }

  /** Whether the last checkpoint is the end of WAL. */
  boolean endsWithCheckpoint() {
    return data.state() == DB_SHUTDOWNED;
  }
}
