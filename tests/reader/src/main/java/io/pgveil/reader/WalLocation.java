package io.pgveil.reader;

import java.util.Comparator;

/**
 * A place in the WAL (spec 1.5): 16 bytes, LSN (unsigned 64 bits) at 0, timeline at 8, padding at
 * 12. Ordered by timeline first, then LSN.
 */
public record WalLocation(long timeline, long lsn) implements Comparable<WalLocation> {
  /** Behind everything: the end of the last range. */
  public static final WalLocation END = new WalLocation(0xFFFF_FFFFL, -1L);

  static WalLocation parse(Source in, int at) {
    return new WalLocation(in.u32(at + 8), in.u64(at));
  }

  /** Whether it is set: both parts are. */
  public boolean isValid() {
    return timeline != 0 && lsn != 0;
  }

  @Override
  public int compareTo(WalLocation other) {
    return Comparator.comparingLong(WalLocation::timeline)
        .thenComparing(WalLocation::lsn, Long::compareUnsigned)
        .compare(this, other);
  }

  /** Timeline and LSN as PostgreSQL writes it: {@code 1:0/D44000}. */
  @Override
  public String toString() {
    return "%d:%X/%X".formatted(timeline, lsn >>> 32, lsn & 0xFFFF_FFFFL);
  }
}
