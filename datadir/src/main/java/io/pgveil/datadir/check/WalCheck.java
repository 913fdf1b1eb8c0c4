package io.pgveil.datadir.check;

import io.pgveil.datadir.WalFileName;
import io.pgveil.keys.KeyException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Checks all WAL segments: page headers and CRCs of records, from the oldest segment to the end of
 * WAL. On each timeline everything below the newest segment that has a right first page must be
 * right; in that one, WAL ends at the first page or record that is not, and where pg_control says
 * the last checkpoint is, WAL must not have ended. What a recycled segment holds behind the end of
 * WAL decodes to noise and is nobody's, and so is what follows the record that ends a segment early
 * (XLOG_SWITCH): a server writes zeros there, but a standby goes on with the next segment even if
 * it has not received them.
 */
final class WalCheck {
  private static final int PAGE = WalPageHeader.PAGE;
  private static final int CHUNK = 32 * PAGE;
  private static final int LARGEST_TLI = 65535;

  private record Segment(Tree.Entry entry, WalFileName name, long number) {}

  private final WalRanges ranges;
  private final @Nullable ControlFile control;
  private final String redo;
  private final Tally tally;
  private final int segmentSize;
  private final byte[] buffer = new byte[CHUNK];

  /** End of WAL on the timeline of the last checkpoint or a later one. */
  private long end;

  private boolean checkpointSegmentSeen;

  WalCheck(
      List<Tree.Entry> entries,
      WalRanges ranges,
      @Nullable ControlFile control,
      String redo,
      Tally tally) {
    this.ranges = ranges;
    this.control = control;
    this.redo = redo;
    this.tally = tally;
    this.segmentSize = control != null ? control.data().walSegmentSize() : commonSize(entries);
  }

  private static int commonSize(List<Tree.Entry> entries) {
    return (int)
        entries.stream()
            .mapToLong(Tree.Entry::size)
            .filter(s -> s >= 1 << 20 && s <= 1 << 30 && Long.bitCount(s) == 1)
            .findFirst()
            .orElse(16 << 20);
  }

  void run(List<Tree.Entry> entries) throws KeyException {
    TreeMap<Integer, List<Segment>> timelines = new TreeMap<>(Integer::compareUnsigned);
    for (Tree.Entry e : entries) {
      WalFileName name = WalFileName.parse(e.name());
      if (name == null) {
        continue;
      }
      tally.count(Count.WAL_SEGMENTS);
      if (e.size() != segmentSize) {
        tally.finding(
            e.object(),
            "it has %d bytes, a segment %d".formatted(e.size(), segmentSize),
            "restore it from the archive");
      }
      if (Integer.compareUnsigned(name.timeline(), LARGEST_TLI) > 0) {
        tally.finding(
            e.object(), "timelines above 65535 cannot be encrypted", "start over with pg_resetwal");
        tally.done(e.size());
        continue;
      }
      timelines
          .computeIfAbsent(name.timeline(), t -> new ArrayList<>())
          .add(new Segment(e, name, name.segmentNumber(segmentSize)));
    }
    for (Map.Entry<Integer, List<Segment>> t : timelines.entrySet()) {
      timeline(t.getKey(), t.getValue());
    }
    checkpoint();
  }

  private void timeline(int tli, List<Segment> segments) throws KeyException {
    segments.sort(Comparator.comparingLong(Segment::number).thenComparing(s -> s.name.partial()));
    long newest = -1;
    for (Segment s : segments) {
      if (!s.name.partial() && firstPageIsRight(s)) {
        newest = s.number;
      }
    }
    long checkpointSegment = -1;
    if (control != null && control.checkpointTli() == tli) {
      checkpointSegment = control.checkpoint() / segmentSize;
      newest =
          control.endsWithCheckpoint() ? checkpointSegment : Math.max(newest, checkpointSegment);
    }
    WalRecords records = new WalRecords();
    Segment before = null;
    for (Segment s : segments) {
      if (s.number > newest && !s.name.partial()) {
        tally.count(Count.SPARE_WAL_SEGMENTS);
        tally.done(s.entry.size());
        continue;
      }
      if (before == null || before.name.partial() || before.number + 1 != s.number) {
        records.lose();
      }
      boolean complete = s.number < newest && !s.name.partial();
      try {
        segment(s, complete, records);
      } catch (IOException e) {
        tally.finding(s.entry.object(), "it cannot be read: " + e, "check the device");
        records.lose();
      }
      before = s;
    }
    tally.count(Count.WAL_RECORDS, records.count());
    if (control != null && Integer.compareUnsigned(tli, control.checkpointTli()) >= 0) {
      long wanted = control.checkpoint() / segmentSize;
      checkpointSegmentSeen |= segments.stream().anyMatch(s -> s.number == wanted);
      end = Long.compareUnsigned(records.end(), end) > 0 ? records.end() : end;
    }
  }

  private boolean firstPageIsRight(Segment s) throws KeyException {
    try (FileChannel in = Bytes.open(s.entry.path())) {
      int n = Bytes.read(in, 0, buffer, PAGE);
      if (n < PAGE) {
        return false;
      }
      ranges.decode(s.name.timeline(), s.number, segmentSize, 0, buffer, PAGE);
      return problem(s, 0, 0, WalPageHeader.read(buffer, 0)) == null;
    } catch (IOException e) {
      return false;
    }
  }

  private @Nullable String problem(Segment s, long offset, int at, WalPageHeader h) {
    return h.problem(
        s.name.timeline(),
        s.number * segmentSize + offset + at,
        segmentSize,
        control == null ? 0 : control.systemIdentifier());
  }

  /**
   * @param complete whether a later segment is there, so that all of this one must be right
   */
  private void segment(Segment s, boolean complete, WalRecords records)
      throws IOException, KeyException {
    int tli = s.name.timeline();
    boolean atEnd = false;
    long size = Math.min(s.entry.size(), segmentSize);
    try (FileChannel in = Bytes.open(s.entry.path())) {
      for (long offset = 0; offset < size; offset += CHUNK) {
        int n = Bytes.read(in, offset, buffer, (int) Math.min(CHUNK, size - offset)) / PAGE * PAGE;
        tally.done(n);
        if (atEnd) {
          continue;
        }
        ranges.decode(tli, s.number, segmentSize, offset, buffer, n);
        for (int at = 0; at < n && !atEnd; at += PAGE) {
          long lsn = s.number * segmentSize + offset + at;
          WalPageHeader h = WalPageHeader.read(buffer, at);
          String problem = problem(s, offset, at, h);
          if (problem == null) {
            tally.count(Count.WAL_PAGES);
            if (!ranges.isEncrypted(tli, lsn)) {
              tally.count(Count.CLEAR_WAL_PAGES);
            }
            problem = records.page(buffer, at, h, lsn);
          }
          if (problem == null) {
            atEnd = records.ended();
            continue;
          }
          records.lose();
          if (complete) {
            tally.finding(
                s.entry.object(),
                "page at offset %x: %s".formatted(offset + at, problem),
                redo + "restore the segment from the archive");
          } else {
            atEnd = true;
          }
        }
      }
    }
  }

  private void checkpoint() {
    if (control == null) {
      return;
    }
    String where = Lsn.text(control.checkpointTli(), control.checkpoint());
    if (!checkpointSegmentSeen) {
      tally.note(
          "pg_wal",
          "the segment with the last checkpoint, " + where + ", is not here",
          "as in a backup that takes its WAL from the archive");
    } else if (Long.compareUnsigned(end, control.checkpoint()) <= 0) {
      tally.finding(
          "pg_wal",
          "WAL ends at %s, before the last checkpoint at %s".formatted(Lsn.text(end), where),
          "restore the segment from the archive");
    }
  }
}
