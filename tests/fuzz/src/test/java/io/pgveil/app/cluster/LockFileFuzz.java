package io.pgveil.app.cluster;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.io.IOException;
import java.nio.file.Path;

/** {@code pgveil.lock}: what the holder of the lock says of itself. */
public final class LockFileFuzz {
  private LockFileFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    try {
      ClusterLock.Holder holder = ClusterLock.parse(new Bits(input).rest());
      Violation.unless(holder.command() != null, "no command");
      if (holder.socket() != null) {
        Violation.unless(!Path.of(holder.socket()).toString().isEmpty(), "a socket without a path");
      }
    } catch (IOException e) {
      // declared
    }
  }
}
