package io.pgveil.datadir;

import org.jspecify.annotations.Nullable;

/**
 * Name of a WAL segment: timeline, and segment number as two halves that depend on the segment
 * size.
 *
 * @param timeline timeline id
 * @param high upper 32 bits of the LSN of the segment's start
 * @param low number of the segment within 4 GiB
 * @param partial whether the name ends in {@code .partial}
 */
public record WalFileName(int timeline, int high, int low, boolean partial) {

  /** Reads {@code TTTTTTTTXXXXXXXXYYYYYYYY[.partial]}, upper-case hexadecimal; null if not one. */
  public static @Nullable WalFileName parse(String name) {
    boolean partial = name.length() == 32 && name.endsWith(".partial");
    if (name.length() != 24 && !partial) {
      return null;
    }
    for (int i = 0; i < 24; i++) {
      char c = name.charAt(i);
      if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'))) {
        return null;
      }
    }
    return new WalFileName(
        Integer.parseUnsignedInt(name, 0, 8, 16),
        Integer.parseUnsignedInt(name, 8, 16, 16),
        Integer.parseUnsignedInt(name, 16, 24, 16),
        partial);
  }

  /** The segment's number (LSN divided by segment size); {@code segmentSize} in bytes. */
  public long segmentNumber(int segmentSize) {
    long perXlogId = 0x1_0000_0000L / segmentSize;
    return (high & 0xffffffffL) * perXlogId + (low & 0xffffffffL);
  }
}
