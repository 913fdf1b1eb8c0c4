package io.pgveil.app.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.FuzzExecutor;
import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;

/** Bytes on the control socket: lines, each with an answer that the client understands. */
public final class ControlMessageFuzz {
  private static final FuzzExecutor EXECUTOR = new FuzzExecutor();

  private ControlMessageFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) throws JsonProcessingException {
    LineReader lines =
        new LineReader(
            Channels.newChannel(new ByteArrayInputStream(new Bits(input).rest())),
            ControlServer.MAX_LINE);
    try {
      for (int i = 0; i < 8; i++) {
        String line = lines.next();
        if (line == null) {
          break;
        }
        answer(line);
      }
    } catch (IOException e) {
      Violation.unless(e.getMessage().contains("longer than"), e.getMessage());
    }
  }

  private static void answer(String line) throws JsonProcessingException {
    Reply reply = EXECUTOR.run(e -> ControlServer.answer(line, e));
    if (reply instanceof Reply.Failed failed) {
      Violation.unless(failed.exitCode() != ExitCode.INTERNAL, failed.message());
    }
    String json = ControlServer.JSON.writeValueAsString(reply);
    Violation.unless(json.indexOf('\n') < 0, "an answer of several lines");
    Violation.unless(
        ControlServer.JSON.readValue(json, Reply.class).equals(reply), "it is read otherwise");
  }
}
