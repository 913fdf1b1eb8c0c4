package io.pgveil.tests.command;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * A program to be started: its words, and changes to the environment. It works in {@code /}, which
 * is no mount of ours.
 */
record Command(List<String> words, Map<String, String> environment, Path workingDirectory) {
  private static final int PATIENCE_SECONDS = 120;

  /** How a program has ended, and what it has printed. */
  record Result(int code, String out, String err) {
    String all() {
      return "exit code " + code + "\n" + out + err;
    }
  }

  static Command of(Object... words) {
    return new Command(strings(words), Map.of(), Path.of("/"));
  }

  private static List<String> strings(Object... words) {
    List<String> out = new ArrayList<>();
    for (Object word : words) {
      out.add(word.toString());
    }
    return out;
  }

  Command with(Object... arguments) {
    List<String> all = new ArrayList<>(words);
    all.addAll(strings(arguments));
    return new Command(all, environment, workingDirectory);
  }

  /** This program, started by another one, for example by setpriv. */
  Command by(Object... starter) {
    List<String> all = strings(starter);
    all.addAll(words);
    return new Command(all, environment, workingDirectory);
  }

  Command environment(String name, String value) {
    Map<String, String> all = new TreeMap<>(environment);
    all.put(name, value);
    return new Command(words, all, workingDirectory);
  }

  Command in(Path directory) {
    return new Command(words, environment, directory);
  }

  private ProcessBuilder builder() {
    ProcessBuilder builder = new ProcessBuilder(words).directory(workingDirectory.toFile());
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().putAll(environment);
    return builder;
  }

  /** Whether there is such a program, and it succeeds. */
  boolean runs() {
    try {
      return run().code() == 0;
    } catch (IOException e) {
      return false;
    }
  }

  /** Starts it and leaves it running. */
  Running start() throws IOException {
    Process process = builder().start();
    process.getOutputStream().close();
    return new Running(process);
  }

  /** Waits for its end. */
  Result run() throws IOException {
    return run(PATIENCE_SECONDS);
  }

  /** Waits for its end, for that many seconds. */
  Result run(int patienceSeconds) throws IOException {
    Process process = builder().start();
    try {
      process.getOutputStream().close();
      CompletableFuture<String> out = text(process.getInputStream());
      CompletableFuture<String> err = text(process.getErrorStream());
      if (!process.waitFor(patienceSeconds, TimeUnit.SECONDS)) {
        throw new AssertionError("does not end: " + words);
      }
      return new Result(process.exitValue(), out.join(), err.join());
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    } finally {
      process.destroyForcibly();
    }
  }

  private static CompletableFuture<String> text(InputStream stream) {
    return CompletableFuture.supplyAsync(
        () -> {
          try (stream) {
            return new String(stream.readAllBytes(), UTF_8);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }
}
