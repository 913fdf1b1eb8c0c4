package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** A directory for a cluster that does not outlive its command. */
record TemporaryRoot(Path path) {
  /** Makes it, with mode 0755: PostgreSQL reaches its files in it as another user than root. */
  static TemporaryRoot make() throws CommandException {
    try {
      Path path = Files.createTempDirectory("pgveil-");
      Files.setPosixFilePermissions(path, Modes.of(0755));
      return new TemporaryRoot(path);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot make a temporary directory",
              System.getProperty("java.io.tmpdir"),
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /** Removes it with all that is in it; says so if that fails. */
  void remove(PrintWriter err) {
    try (Stream<Path> files = Files.walk(path)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      err.println("pgveil: cannot remove " + path + ": " + e);
    }
  }
}
