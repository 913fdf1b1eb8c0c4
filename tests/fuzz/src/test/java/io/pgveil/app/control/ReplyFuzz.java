package io.pgveil.app.control;

import io.pgveil.fuzz.Bits;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** What a client gets from a socket that says it is the daemon's. */
public final class ReplyFuzz {
  private ReplyFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    String line = new String(new Bits(input).rest(), StandardCharsets.UTF_8);
    try {
      Reply reply = ControlClient.parse(line);
      if (reply instanceof Reply.Failed failed) {
        failed.toException();
      }
    } catch (IOException e) {
      // declared
    }
  }
}
