package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.nio.file.Path;

/** {@code up.json}. */
public final class SettingsFuzz {
  private static final Path FILE = Scratch.directory("settings").resolve("up.json");

  private SettingsFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Scratch.write(FILE, new Bits(input).rest());
    try {
      UpSettings.read(FILE)
          .ifPresent(
              s ->
                  Violation.unless(
                      s.port() > 0 && s.port() < 65536 && s.major() > 0,
                      "no port or version: " + s));
    } catch (CommandException e) {
      Violation.unless(e.block().contains("remedy: "), e.block());
    }
  }
}
