package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.app.Main;
import io.pgveil.app.storage.EncryptedStorage;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A cluster to be damaged, and the list of what has to be done to have it as it was before.
 *
 * @param cluster stopped, with rows in it
 * @param home the launcher, for commands that need a process of their own
 * @param scratch for what is not the cluster; part of what must not change
 * @param outside for logs and the like
 */
record Bench(
    UpDirectory cluster,
    Installation.Home home,
    Path scratch,
    Path outside,
    Deque<AutoCloseable> undo) {
  private static final int PATIENCE_SECONDS = 60;

  Bench(UpDirectory cluster, Installation.Home home, Path scratch, Path outside) {
    this(cluster, home, scratch, outside, new ArrayDeque<>());
  }

  // ---- commands ----

  /** Runs a command in this JVM. */
  Command.Result pgveil(Object... arguments) throws Exception {
    String[] args = Arrays.stream(arguments).map(Object::toString).toArray(String[]::new);
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CompletableFuture<Integer> code = new CompletableFuture<>();
    Thread thread =
        Thread.ofPlatform()
            .daemon()
            .start(
                () ->
                    code.complete(
                        Main.commandLine(new EncryptedStorage(), false)
                            .setOut(new PrintWriter(out, true))
                            .setErr(new PrintWriter(err, true))
                            .execute(args)));
    try {
      return new Command.Result(
          code.get(PATIENCE_SECONDS, TimeUnit.SECONDS), out.toString(), err.toString());
    } catch (TimeoutException e) {
      thread.interrupt();
      throw new AssertionError("has not failed: " + String.join(" ", args) + "\n" + out + err, e);
    } catch (ExecutionException e) {
      throw new AssertionError(e);
    }
  }

  /** {@code mount} of the cluster in this JVM, where it is always mounted. */
  Command.Result mount() throws Exception {
    return mount(cluster.cipher(), cluster.mount());
  }

  Command.Result mount(Path cipher, Path mountPoint) throws Exception {
    return pgveil("mount", cipher, mountPoint, "--log-file", log(), "--provider-wait", 0);
  }

  /** Where the commands are told to write their log. */
  Path log() {
    return outside.resolve("pgveil.log");
  }

  // ---- damage ----

  /** Later to be done; the last is done first. */
  void finallyDo(AutoCloseable action) {
    undo.push(action);
  }

  void replace(Path file, byte[] content) throws IOException {
    byte[] original = Files.readAllBytes(file);
    write(file, content);
    finallyDo(() -> write(file, original));
  }

  /** In place: owner and mode stay. */
  private static void write(Path file, byte[] content) throws IOException {
    Files.write(file, content, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING);
  }

  void cutOff(Path file, int bytes) throws IOException {
    byte[] original = Files.readAllBytes(file);
    replace(file, Arrays.copyOf(original, original.length - bytes));
  }

  /** Changes bits of one byte. */
  void garble(Path file, int offset, int mask) throws IOException {
    byte[] content = Files.readAllBytes(file);
    content[offset] ^= (byte) mask;
    replace(file, content);
  }

  void mode(Path file, String permissions) throws IOException {
    String before = PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
    finallyDo(() -> Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(before)));
  }

  void move(Path from, Path to) throws IOException {
    Files.move(from, to);
    finallyDo(() -> Files.move(to, from));
  }

  /** A new directory in {@link #scratch}. */
  Path directory(String name) throws IOException {
    Path directory = Files.createDirectory(scratch.resolve(name));
    finallyDo(
        () -> {
          if (Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
            Installation.deleteTree(directory);
          }
        });
    return directory;
  }

  /** A small file system in memory, in {@link #scratch}. */
  Path fileSystem(String name, String size) throws IOException {
    Path directory = directory(name);
    Command.Result mounted =
        Command.of("mount", "-t", "tmpfs", "-o", "size=" + size, "pgveil-test", directory).run();
    assertThat(mounted.code()).as(mounted.all()).isZero();
    finallyDo(() -> assertThat(Command.of("umount", "-l", directory).run().code()).isZero());
    return directory;
  }

  /** Fills the file system of a directory to the last byte. */
  static Path fill(Path directory) throws IOException {
    Path file = directory.resolve("filler");
    for (int size = 1 << 20; size > 0; size /= 16) {
      try {
        while (true) {
          Files.write(file, new byte[size], StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }
      } catch (IOException e) {
        assertThat(e).hasMessageContaining("No space left");
      }
    }
    return file;
  }

  /** Has everything as it was. */
  void restore() throws Exception {
    Exception failure = null;
    while (!undo.isEmpty()) {
      try {
        undo.pop().close();
      } catch (Exception e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
