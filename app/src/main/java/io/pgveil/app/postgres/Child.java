package io.pgveil.app.postgres;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * Child processes. Their working directory is the root directory, never a mount of ours, which
 * would keep it busy and could make the child wait for a daemon that waits for the child. Of the
 * environment only the PATH is passed on: no {@code PG...} variable changes what PostgreSQL does.
 */
final class Child {
  private static final Path ROOT = Path.of("/");

  private Child() {}

  /**
   * @param output standard output and standard error together
   */
  record Result(int exitCode, String output) {}

  static ProcessBuilder builder(List<String> command) {
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(ROOT.toFile()).redirectErrorStream(true);
    Map<String, String> environment = builder.environment();
    String path = environment.getOrDefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    environment.clear();
    environment.put("PATH", path);
    environment.put("LC_ALL", "C.UTF-8");
    return builder;
  }

  /** Runs a command that needs no input and ends by itself. */
  static Result run(List<String> command) throws IOException {
    Process process = builder(command).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      return new Result(process.waitFor(), output);
    } catch (InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while running " + command.getFirst());
    }
  }
}
