package io.pgveil.reader;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Names of the key directory: the OID as a signed 32-bit decimal, then the kind (spec 0). */
final class KeyFileName {
  private KeyFileName() {}

  /** The database OID in the name of {@code in}, which must end with {@code suffix}. */
  static long oid(Source in, String suffix) {
    Matcher name = Pattern.compile("(?:.*/)?(-?[0-9]{1,10})" + suffix).matcher(in.file());
    in.require(name.matches(), 0, "the file name <dbOid>" + suffix, in.file());
    return Integer.toUnsignedLong((int) Long.parseLong(name.group(1)));
  }
}
