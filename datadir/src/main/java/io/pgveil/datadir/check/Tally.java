package io.pgveil.datadir.check;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Collects what the parts of a check find; for any number of threads. */
final class Tally {
  private final Map<Count, LongAdder> counts = new EnumMap<>(Count.class);
  private final LongAdder bytesDone = new LongAdder();
  private final Verifier.Progress progress;
  private final long bytesTotal;

  // guarded by this
  private final List<Finding> findings = new ArrayList<>();
  private final List<String> clearFiles = new ArrayList<>();
  private long leftOut;

  Tally(Verifier.Progress progress, long bytesTotal) {
    this.progress = progress;
    this.bytesTotal = bytesTotal;
    for (Count c : Count.values()) {
      counts.put(c, new LongAdder());
    }
  }

  void finding(String object, String what, String remedy) {
    add(new Finding(Finding.Severity.FINDING, object, what, remedy));
  }

  void note(String object, String what, String remedy) {
    add(new Finding(Finding.Severity.NOTE, object, what, remedy));
  }

  private synchronized void add(Finding f) {
    if (findings.size() < Verifier.MAX_FINDINGS) {
      findings.add(f);
    } else if (f.severity() == Finding.Severity.FINDING) {
      leftOut++;
    }
  }

  synchronized void clearFile(String path) {
    clearFiles.add(path);
  }

  void count(Count what) {
    count(what, 1);
  }

  @SuppressWarnings("NullAway") // every key is in the map
  void count(Count what, long n) {
    counts.get(what).add(n);
  }

  /** Bytes were read. */
  void done(long bytes) {
    bytesDone.add(bytes);
    count(Count.BYTES, bytes);
    synchronized (progress) {
      progress.at(bytesDone.sum(), bytesTotal);
    }
  }

  synchronized Report report(Report.Mode mode) {
    Map<Count, Long> sums = new EnumMap<>(Count.class);
    counts.forEach((what, n) -> sums.put(what, n.sum()));
    findings.sort(Comparator.comparing(Finding::object).thenComparing(Finding::what));
    clearFiles.sort(Comparator.naturalOrder());
    return new Report(mode, findings, leftOut, sums, clearFiles);
  }
}
