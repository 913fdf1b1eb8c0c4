package io.pgveil.datadir.check;

import java.util.List;
import java.util.Map;

/**
 * The result of a check.
 *
 * @param mode whose cluster it is
 * @param findings by object; at most {@link Verifier#MAX_FINDINGS}
 * @param leftOut findings beyond that number
 * @param clearFiles relation files that are not encrypted, by path: only in a cluster of pg_tde
 */
public record Report(
    Mode mode,
    List<Finding> findings,
    long leftOut,
    Map<Count, Long> counts,
    List<String> clearFiles) {
  /** Whose cluster it is. */
  public enum Mode {
    /** Everything is encrypted. */
    PGVEIL,
    /**
     * No pgveil.seal: relations with a key and WAL in an encrypted range are, the rest is clear.
     */
    PG_TDE
  }

  public Report {
    findings = List.copyOf(findings);
    counts = Map.copyOf(counts);
    clearFiles = List.copyOf(clearFiles);
  }

  public long count(Count what) {
    return counts.getOrDefault(what, 0L);
  }

  /** Whether there is nothing but notes. */
  public boolean isClean() {
    return leftOut == 0
        && findings.stream().noneMatch(f -> f.severity() == Finding.Severity.FINDING);
  }
}
