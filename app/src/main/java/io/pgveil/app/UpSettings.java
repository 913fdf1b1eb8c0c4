package io.pgveil.app;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;

/**
 * What {@code up} remembers of its first use, so that later uses give the same server. The file is
 * written when initdb has succeeded: without it the cluster is not complete.
 *
 * @param major PostgreSQL's major version
 * @param port its TCP port
 */
record UpSettings(int major, int port) {
  private static final ObjectMapper JSON = new ObjectMapper();

  static Optional<UpSettings> read(Path file) throws CommandException {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      return Optional.of(JSON.readValue(Files.readAllBytes(file), UpSettings.class));
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot read the settings: %s: %s".formatted(file, e.getMessage()),
              "restore the file; it looks like {\"major\":18,\"port\":5432}")
          .causedBy(e);
    }
  }

  void write(Path file) throws IOException {
    Path temporary = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(temporary);
    Files.createFile(temporary, Modes.with(0644));
    Files.writeString(temporary, JSON.writeValueAsString(this) + "\n");
    Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
  }
}
