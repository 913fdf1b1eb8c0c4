package io.pgveil.datadir;

import org.jspecify.annotations.Nullable;

/**
 * Which part of which relation a page file holds.
 *
 * @param tablespace tablespace OID
 * @param database database OID, 0 for shared relations
 * @param relNumber relfilenode, unsigned
 * @param backend number of the backend that owns a temporary relation, or -1
 * @param fork 0 main, 1 free space map, 2 visibility map, 3 init
 * @param segment number of the 1-GiB segment
 */
public record RelationFile(
    int tablespace, int database, int relNumber, int backend, int fork, int segment) {

  /** Pages of 8 KiB in one segment file of 1 GiB (RELSEG_SIZE). */
  public static final int PAGES_PER_SEGMENT = 131072;

  private static final String[] FORKS = {"", "fsm", "vm", "init"};

  /** Block number within the relation of the first page of this file. */
  public int firstBlock() {
    return segment * PAGES_PER_SEGMENT;
  }

  public boolean isTemporary() {
    return backend >= 0;
  }

  /**
   * Reads a file name such as {@code 16384}, {@code 16384_fsm.2} or {@code t3_16384}; null if it is
   * none (storage/smgr: relpath).
   */
  public static @Nullable RelationFile parse(int tablespace, int database, String name) {
    int end = name.length();
    int p = 0;
    int backend = -1;
    if (end > 2 && name.charAt(0) == 't') {
      int underscore = name.indexOf('_');
      if (underscore < 2) {
        return null;
      }
      long b = number(name, 1, underscore);
      if (b < 0 || b > Integer.MAX_VALUE) {
        return null;
      }
      backend = (int) b;
      p = underscore + 1;
    }
    int q = p;
    while (q < end && isDigit(name.charAt(q))) {
      q++;
    }
    long rel = number(name, p, q);
    if (rel <= 0 || rel > 0xffffffffL) {
      return null;
    }
    int fork = 0;
    if (q < end && name.charAt(q) == '_') {
      int dot = name.indexOf('.', q);
      String suffix = name.substring(q + 1, dot < 0 ? end : dot);
      for (int i = 1; i < FORKS.length; i++) {
        if (FORKS[i].equals(suffix)) {
          fork = i;
        }
      }
      if (fork == 0) {
        return null;
      }
      q = dot < 0 ? end : dot;
    }
    int segment = 0;
    if (q < end) {
      if (name.charAt(q) != '.') {
        return null;
      }
      long s = number(name, q + 1, end);
      // block numbers are 32 bits wide, so 32,768 segments of 131,072 pages at the most
      if (s <= 0 || s >= 0x1_0000_0000L / PAGES_PER_SEGMENT) {
        return null;
      }
      segment = (int) s;
    }
    return new RelationFile(tablespace, database, (int) rel, backend, fork, segment);
  }

  /** The number in {@code name[from, to)}; -1 if it is not one without leading zeros. */
  private static long number(String name, int from, int to) {
    if (from >= to || to - from > 10 || (name.charAt(from) == '0' && to - from > 1)) {
      return -1;
    }
    long n = 0;
    for (int i = from; i < to; i++) {
      char c = name.charAt(i);
      if (!isDigit(c)) {
        return -1;
      }
      n = n * 10 + (c - '0');
    }
    return n;
  }

  /** The OID that {@code name} spells, 0 if it spells none. */
  public static int parseOid(String name) {
    long n = number(name, 0, name.length());
    return n <= 0 || n > 0xffffffffL ? 0 : (int) n;
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }
}
