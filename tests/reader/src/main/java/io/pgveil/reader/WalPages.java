package io.pgveil.reader;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Headers of the 8192-byte pages of clear WAL.
 *
 * <pre>
 * 0   2  magic, different in each major version
 * 2   2  flags
 * 4   4  timeline
 * 8   8  LSN of the page
 * 16  4  bytes of a record continued from the page before
 * 20  4  padding
 * 24  8  system identifier   )
 * 32  4  segment size        ) first page of a segment only (flag 2)
 * 36  4  WAL page size, 8192 )
 * </pre>
 */
public final class WalPages {
  /** Bytes of a WAL page. */
  public static final int SIZE = 8192;

  private static final int FIRST_IS_CONTINUATION = 1;
  private static final int LONG_HEADER = 2;
  private static final int ALL_FLAGS = 15;

  private WalPages() {}

  /** The fields that only the first page of a segment has. */
  public record LongHeader(long systemIdentifier, long segmentSize, long pageSize) {}

  /**
   * One page's header.
   *
   * @param major version of PostgreSQL, from the magic
   * @param remaining bytes of the continued record
   */
  public record Header(
      int magic,
      int major,
      int flags,
      long timeline,
      long pageLsn,
      long remaining,
      Optional<LongHeader> more) {}

  /**
   * Reads the headers of the pages at the segment's begin, up to the first one that is not a page
   * of this segment: what was not written yet is zero or the rest of a recycled file. The first
   * page must be right.
   */
  public static List<Header> read(WalSegmentName segment, byte[] clear) {
    List<Header> headers = new ArrayList<>();
    headers.add(header(segment, clear, 0));
    for (int at = SIZE; at + SIZE <= clear.length; at += SIZE) {
      try {
        headers.add(header(segment, clear, at));
      } catch (FormatViolation endOfWal) {
        break;
      }
    }
    return List.copyOf(headers);
  }

  /** Reads the header of the page at {@code at}; any wrong field is a violation. */
  public static Header header(WalSegmentName segment, byte[] clear, int at) {
    Source in = new Source(segment.name(), clear);
    in.requireSize(at + SIZE, "WAL pages up to the end");
    int magic = in.u16(at);
    int major =
        switch (magic) {
          case 0xD10D -> 14;
          case 0xD110 -> 15;
          case 0xD113 -> 16;
          case 0xD116 -> 17;
          case 0xD118 -> 18;
          default ->
              throw in.violation(
                  at,
                  "WAL page magic of PostgreSQL 14 to 18 (d10d, d110, d113, d116, d118)",
                  Integer.toHexString(magic));
        };
    int flags = in.u16(at + 2);
    in.require((flags & ~ALL_FLAGS) == 0, at + 2, "known flags", flags);
    long timeline = in.u32(at + 4);
    // A segment begun by a timeline switch starts with pages of the timelines before.
    in.require(
        timeline >= 1 && timeline <= segment.timeline(),
        at + 4,
        "timeline 1 to " + segment.timeline(),
        timeline);
    long lsn = segment.startLsn() + at;
    in.require(in.u64(at + 8) == lsn, at + 8, "page LSN " + lsn, in.u64(at + 8));
    long remaining = in.u32(at + 16);
    in.require(
        ((flags & FIRST_IS_CONTINUATION) != 0) == (remaining != 0),
        at + 16,
        "remaining bytes exactly when flag 1 is set",
        "flags " + flags + ", " + remaining + " bytes");
    in.require(
        ((flags & LONG_HEADER) != 0) == (at == 0),
        at + 2,
        "a long header on the first page of a segment only",
        "flags " + flags);
    Optional<LongHeader> more =
        at == 0 ? Optional.of(longHeader(in, segment.segmentSize())) : Optional.empty();
    return new Header(magic, major, flags, timeline, lsn, remaining, more);
  }

  private static LongHeader longHeader(Source in, int segmentSize) {
    long size = in.u32(32);
    in.require(size == segmentSize, 32, "segment size " + segmentSize, size);
    in.require(in.u32(36) == SIZE, 36, "WAL page size 8192", in.u32(36));
    return new LongHeader(in.u64(24), size, in.u32(36));
  }
}
