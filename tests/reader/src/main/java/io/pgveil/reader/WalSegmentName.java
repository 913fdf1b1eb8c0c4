package io.pgveil.reader;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a WAL segment's name says: 24 hexadecimal digits, perhaps with {@code .partial} behind.
 *
 * @param segment number: LSN / segment size; depends on the segment size
 * @param segmentSize bytes
 */
public record WalSegmentName(String name, long timeline, long segment, int segmentSize) {
  private static final Pattern NAME =
      Pattern.compile("([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\\.partial)?");

  /** Empty when {@code name} is not a segment's for that segment size. */
  public static Optional<WalSegmentName> parse(String name, int segmentSize) {
    Matcher m = NAME.matcher(name);
    if (!m.matches()) {
      return Optional.empty();
    }
    long perLog = 0x1_0000_0000L / segmentSize;
    long low = Long.parseLong(m.group(3), 16);
    if (low >= perLog) {
      return Optional.empty();
    }
    long segment = Long.parseLong(m.group(2), 16) * perLog + low;
    return Optional.of(
        new WalSegmentName(name, Long.parseLong(m.group(1), 16), segment, segmentSize));
  }

  /** LSN of the segment's first byte. */
  public long startLsn() {
    return segment * segmentSize;
  }
}
