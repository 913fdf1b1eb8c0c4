package io.pgveil.datadir.check;

import org.jspecify.annotations.Nullable;

/**
 * The header of a clear WAL page (access/xlog_internal.h): magic 0 (2 bytes), flags 2 (2), timeline
 * 4 (4), address 8 (8), bytes of a continued record 16 (4), padding 20 (4); on the first page of a
 * segment system identifier 24 (8), segment size 32 (4), WAL page size 36 (4).
 *
 * @param systemIdentifier 0 without a long header, like {@code segmentSize} and {@code pageSize}
 */
record WalPageHeader(
    int magic,
    int flags,
    int tli,
    long address,
    int remaining,
    long systemIdentifier,
    int segmentSize,
    int pageSize) {
  /** Bytes per WAL page. */
  static final int PAGE = 8192;

  private static final int FIRST_IS_CONTRECORD = 1;
  private static final int LONG_HEADER = 2;
  private static final int FIRST_IS_OVERWRITE_CONTRECORD = 8;
  private static final int KNOWN_FLAGS = 15;

  static WalPageHeader read(byte[] b, int at) {
    int flags = Bytes.getShort(b, at + 2);
    boolean isLong = (flags & LONG_HEADER) != 0;
    return new WalPageHeader(
        Bytes.getShort(b, at),
        flags,
        Bytes.getInt(b, at + 4),
        Bytes.getLong(b, at + 8),
        Bytes.getInt(b, at + 16),
        isLong ? Bytes.getLong(b, at + 24) : 0,
        isLong ? Bytes.getInt(b, at + 32) : 0,
        isLong ? Bytes.getInt(b, at + 36) : 0);
  }

  /** Bytes of the header. */
  int size() {
    return isLong() ? 40 : 24;
  }

  boolean isLong() {
    return (flags & LONG_HEADER) != 0;
  }

  /** Whether the page begins with the rest of a record from the page before. */
  boolean isContinued() {
    return (flags & FIRST_IS_CONTRECORD) != 0;
  }

  /** Whether the record that the page before began was given up. */
  boolean isOverwritten() {
    return (flags & FIRST_IS_OVERWRITE_CONTRECORD) != 0;
  }

  /** The major version of PostgreSQL that writes this magic, 0 if none of 14 to 18. */
  int major() {
    return switch (magic) {
      case 0xD10D -> 14;
      case 0xD110 -> 15;
      case 0xD113 -> 16;
      case 0xD116 -> 17;
      case 0xD118 -> 18;
      default -> 0;
    };
  }

  /**
   * What is wrong with the header, null if nothing is.
   *
   * @param fileTli timeline in the name of the segment; pages that were copied at a timeline switch
   *     bear earlier ones
   * @param lsn of the page
   * @param system system identifier of the cluster, 0 if unknown
   */
  @Nullable String problem(int fileTli, long lsn, int segmentBytes, long system) {
    boolean first = lsn % segmentBytes == 0;
    if (major() == 0) {
      return "magic %04x is of no PostgreSQL from 14 to 18".formatted(magic);
    }
    if (address != lsn) {
      return "address is " + Lsn.text(address) + ", not " + Lsn.text(lsn);
    }
    if (tli == 0 || Integer.compareUnsigned(tli, fileTli) > 0) {
      return "timeline is " + Integer.toUnsignedString(tli);
    }
    if ((flags & ~KNOWN_FLAGS) != 0 || isLong() != first) {
      return "flags are %04x".formatted(flags);
    }
    if (isContinued() && remaining == 0) {
      return "it continues a record of which nothing is left";
    }
    if (first && (segmentSize != segmentBytes || pageSize != PAGE)) {
      return "segment size is " + segmentSize + ", page size " + pageSize;
    }
    if (first && system != 0 && systemIdentifier != system) {
      return "system identifier is "
          + Long.toUnsignedString(systemIdentifier)
          + ", pg_control has "
          + Long.toUnsignedString(system);
    }
    return null;
  }
}
