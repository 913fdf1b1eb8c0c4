package io.pgveil.keys;

/**
 * A stretch of WAL under one key, from its start to the start of the next range.
 *
 * @param index number of its entry in {@code wal_keys}
 * @param tli timeline, unsigned
 * @param startLsn first byte of the range, unsigned
 */
public record WalRange(int index, Type type, CipherType cipher, int tli, long startLsn) {
  /** Whether the bytes of a range are encrypted. */
  public enum Type {
    UNENCRYPTED(1),
    ENCRYPTED(2);

    private final int code;

    Type(int code) {
      this.code = code;
    }

    /** The number in {@code wal_keys}; 0 is an entry that is not valid. */
    int code() {
      return code;
    }
  }

  /** Compares starts as pg_tde does: timeline first, then LSN. */
  int compareStart(int otherTli, long otherLsn) {
    int c = Integer.compareUnsigned(tli, otherTli);
    return c != 0 ? c : Long.compareUnsigned(startLsn, otherLsn);
  }
}
