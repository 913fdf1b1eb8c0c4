package io.pgveil.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.tests.Project;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The program as its users run it: a JVM of its own, on the module path that the build has made.
 */
public final class Pgveil {
  private Pgveil() {}

  /**
   * How a command has ended.
   *
   * @param output standard output and standard error together
   */
  public record Result(int exitCode, String output) {}

  /** Runs a command that ends by itself. */
  public static Result run(Object... arguments) throws IOException, InterruptedException {
    Process process = builder(arguments).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Result(process.waitFor(), output);
  }

  /** Runs a command that must succeed. */
  public static String succeed(Object... arguments) throws IOException, InterruptedException {
    Result result = run(arguments);
    assertThat(result.exitCode()).as("%s: %s", List.of(arguments), result.output()).isZero();
    return result.output();
  }

  static ProcessBuilder builder(Object... arguments) {
    Path target = Project.root().resolve("app").resolve("target");
    Path jar = target.resolve("pgveil-app-0.1.0.jar");
    assertThat(jar).as("made by 'mvnw package'").exists();
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                "--enable-native-access=io.pgveil.linux",
                "-p",
                target.resolve("lib") + ":" + jar,
                "-m",
                "io.pgveil.app/io.pgveil.app.Main"));
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    // neither the mount nor anything else that may go away
    return new ProcessBuilder(command).directory(Path.of("/").toFile()).redirectErrorStream(true);
  }

  /** The last lines of a log, for the report of a failed test. */
  static String tail(Path log) {
    try {
      List<String> lines = Files.readAllLines(log, StandardCharsets.ISO_8859_1);
      return log
          + ":\n"
          + String.join("\n", lines.subList(Math.max(0, lines.size() - 40), lines.size()));
    } catch (IOException e) {
      return log + ": " + e;
    }
  }
}
