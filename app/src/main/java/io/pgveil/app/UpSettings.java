package io.pgveil.app;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What {@code up} remembers of its first use, so that later uses give the same server. The file is
 * written when initdb has succeeded; if it is lost it is made anew from the cluster.
 *
 * @param major PostgreSQL's major version
 * @param port its TCP port
 */
record UpSettings(int major, int port) {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** The settings; none if the file is missing, or empty after a power cut. */
  static Optional<UpSettings> read(Path file) throws CommandException {
    try {
      byte[] content = Files.readAllBytes(file);
      if (content.length == 0) {
        return Optional.empty();
      }
      UpSettings settings = JSON.readValue(content, UpSettings.class);
      if (settings == null || settings.major < 1 || !isPort(settings.port)) {
        throw new IOException("it names no version of PostgreSQL and no port from 1 to 65535");
      }
      return Optional.of(settings);
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot read the settings: %s: %s".formatted(file, CommandException.reason(e)),
              "remove the file: it is made anew from the cluster; or restore it, it looks like"
                  + " {\"major\":18,\"port\":5432}")
          .causedBy(e);
    }
  }

  private static boolean isPort(int n) {
    return n >= 1 && n <= 65535;
  }

  /** Replaces the file, durably. */
  void write(Path file) throws IOException {
    Durable.write(file, (JSON.writeValueAsString(this) + "\n").getBytes(UTF_8), 0644);
  }
}
