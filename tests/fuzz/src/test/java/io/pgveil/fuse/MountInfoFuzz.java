package io.pgveil.fuse;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.io.IOException;

/** The kernel's list of mounts, as the library reads it. */
public final class MountInfoFuzz {
  private MountInfoFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    try {
      Mounts.parse(new Bits(input).text())
          .forEach(m -> Violation.unless(m.device().contains(":"), "no device"));
    } catch (IOException e) {
      // declared
    }
  }
}
