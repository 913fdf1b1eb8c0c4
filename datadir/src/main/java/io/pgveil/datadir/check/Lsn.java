package io.pgveil.datadir.check;

/** Locations in the WAL as PostgreSQL prints them. */
final class Lsn {
  private Lsn() {}

  static String text(long lsn) {
    return "%X/%X".formatted(lsn >>> 32, lsn & 0xffff_ffffL);
  }

  static String text(int tli, long lsn) {
    return Integer.toUnsignedString(tli) + ":" + text(lsn);
  }
}
