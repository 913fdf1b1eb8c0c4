package io.pgveil.datadir;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;

/**
 * Names of files and directories: what they are to us. An input is a path, one char for each byte.
 * A name that is taken for a relation file or a WAL segment must be the only spelling of it, for
 * two names of one key and block would be two truths.
 */
public final class PlaceFuzz {
  private static final String[] FORKS = {"", "_fsm", "_vm", "_init"};

  private PlaceFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    String[] names = new Bits(input).text().split("/", -1);
    Place place = Place.DATA_DIRECTORY;
    for (int i = 0; i < names.length - 1; i++) {
      place = place.directory(names[i]);
    }
    check(place, names[names.length - 1]);
    check(new Place(Place.Role.DATABASE, 1663, 5), names[names.length - 1]);
    check(new Place(Place.Role.WAL, 0, 0), names[names.length - 1]);
  }

  private static void check(Place place, String name) {
    FileKind kind = place.file(name);
    RelationFile r = place.relationFile(name);
    boolean isRelation = kind == FileKind.RELATION || kind == FileKind.TEMP_RELATION;
    if (isRelation) {
      Violation.unless(r != null && name.equals(spelled(r)), "another spelling of " + r);
    }
    WalFileName w = WalFileName.parse(name);
    if (kind == FileKind.WAL_SEGMENT) {
      Violation.unless(w != null && name.equals(spelled(w)), "another spelling of " + w);
    }
    if (w != null) {
      for (int log = 20; log <= 30; log++) {
        w.segmentNumber(1 << log);
      }
    }
  }

  private static String spelled(RelationFile r) {
    return (r.isTemporary() ? "t" + r.backend() + "_" : "")
        + Integer.toUnsignedString(r.relNumber())
        + FORKS[r.fork()]
        + (r.segment() == 0 ? "" : "." + r.segment());
  }

  private static String spelled(WalFileName w) {
    return "%08X%08X%08X".formatted(w.timeline(), w.high(), w.low())
        + (w.partial() ? ".partial" : "");
  }
}
