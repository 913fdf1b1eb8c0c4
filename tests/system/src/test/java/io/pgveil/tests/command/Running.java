package io.pgveil.tests.command;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/** A program that is running, whose output is read as it comes. */
final class Running implements AutoCloseable {
  private static final int PATIENCE_SECONDS = 120;

  private final Process process;

  /** Guarded by itself; its waiters are told of each line and of the end. */
  private final StringBuilder output = new StringBuilder();

  private final Thread out;
  private final Thread err;

  Running(Process process) {
    this.process = process;
    out = reader(process.inputReader(UTF_8));
    err = reader(process.errorReader(UTF_8));
  }

  private Thread reader(BufferedReader lines) {
    return Thread.ofPlatform()
        .daemon()
        .start(
            () -> {
              try (lines) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                  print(line);
                }
              } catch (IOException e) {
                print(e.toString());
              }
            });
  }

  private void print(String line) {
    synchronized (output) {
      output.append(line).append('\n');
      output.notifyAll();
    }
  }

  /** Waits until it has printed {@code text}. */
  Running await(String text) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
    synchronized (output) {
      while (output.indexOf(text) < 0) {
        boolean ended = !out.isAlive() && !err.isAlive();
        if (ended || System.nanoTime() - end > 0) {
          throw new AssertionError("did not print \"" + text + "\":\n" + output);
        }
        output.wait(100);
      }
    }
    return this;
  }

  String output() {
    synchronized (output) {
      return output.toString();
    }
  }

  long pid() {
    return process.pid();
  }

  /** SIGTERM, as from a service manager. */
  int terminate() throws InterruptedException {
    // not of the Process, which would close its streams too
    process.toHandle().destroy();
    return exitCode();
  }

  /** SIGKILL. */
  int kill() throws InterruptedException {
    process.toHandle().destroyForcibly();
    return exitCode();
  }

  /** Waits for its end. */
  int exitCode() throws InterruptedException {
    return exitCode(PATIENCE_SECONDS);
  }

  /** Waits so many seconds for its end. */
  int exitCode(int patience) throws InterruptedException {
    assertThat(process.waitFor(patience, TimeUnit.SECONDS)).as("has ended").isTrue();
    out.join();
    err.join();
    return process.exitValue();
  }

  /** Waits so many seconds for its end with code 0; shows what it printed but for some lines. */
  void endsWell(int patience, String hidden) throws InterruptedException {
    int code = exitCode(patience);
    assertThat(code).as(output()).isZero();
    output().lines().filter(l -> !l.contains(hidden)).forEach(System.out::println);
  }

  boolean isAlive() {
    return process.isAlive();
  }

  /** Ends it if it still runs: first as a user would, for it has things to clean up. */
  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(20, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
