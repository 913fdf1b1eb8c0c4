package io.pgveil.providers.kmip;

import java.util.List;

/** A version of the protocol. */
record Version(int major, int minor) {
  static final Version V1_0 = new Version(1, 0);

  /**
   * The best first. Keys are stored the same by all; those of pg_tde by 1.4. So 2.0, which has
   * another form of attributes, is for servers that speak nothing else.
   */
  static final List<Version> KNOWN =
      List.of(
          new Version(1, 4),
          new Version(1, 3),
          new Version(1, 2),
          new Version(1, 1),
          V1_0,
          new Version(2, 0));

  boolean hasDiscovery() {
    return !equals(V1_0);
  }

  Ttlv item() {
    return Ttlv.Structure.of(
        Tag.PROTOCOL_VERSION,
        Ttlv.Value.integer(Tag.PROTOCOL_VERSION_MAJOR, major),
        Ttlv.Value.integer(Tag.PROTOCOL_VERSION_MINOR, minor));
  }

  @Override
  public String toString() {
    return major + "." + minor;
  }
}
