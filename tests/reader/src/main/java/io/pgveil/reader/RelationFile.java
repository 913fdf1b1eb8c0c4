package io.pgveil.reader;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What the path of a relation's file says.
 *
 * @param path relative to the data directory: {@code base/5/16384_fsm.1}
 * @param database OID; 0 for shared relations
 * @param tablespace OID: 1663 for {@code base}, 1664 for {@code global}
 * @param segment 0 for the file without a number
 */
public record RelationFile(
    String path, long database, long tablespace, long relation, Fork fork, int segment) {
  private static final Pattern PATH =
      Pattern.compile(
          "(?:base/(?<db>[0-9]+)|global|pg_tblspc/(?<spc>[0-9]+)/PG_[^/]+/(?<spcdb>[0-9]+))"
              + "/(?<rel>[0-9]+)(?<fork>_fsm|_vm|_init|)(?:\\.(?<seg>[0-9]+))?");

  /** Empty when {@code path} is not that of a permanent relation's file. */
  public static Optional<RelationFile> parse(String path) {
    Matcher m = PATH.matcher(path);
    if (!m.matches()) {
      return Optional.empty();
    }
    boolean base = m.group("db") != null;
    boolean elsewhere = m.group("spc") != null;
    Fork fork = Fork.MAIN;
    for (Fork candidate : Fork.values()) {
      if (candidate.suffix().equals(m.group("fork"))) {
        fork = candidate;
      }
    }
    return Optional.of(
        new RelationFile(
            path,
            base ? number(m, "db") : elsewhere ? number(m, "spcdb") : 0,
            base ? 1663 : elsewhere ? number(m, "spc") : 1664,
            number(m, "rel"),
            fork,
            m.group("seg") == null ? 0 : (int) number(m, "seg")));
  }

  private static long number(Matcher m, String group) {
    return Long.parseLong(m.group(group));
  }
}
