package io.pgveil.tests.support;

import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A cgroup with a memory limit, of version 1 or 2. Who is in it when it is closed goes on without.
 */
public final class MemoryGroup implements AutoCloseable {
  private static final Path V1 = Path.of("/sys/fs/cgroup/memory");
  private static final Path V2 = Path.of("/sys/fs/cgroup");

  private final Path directory;
  private final boolean v1;

  private MemoryGroup(Path directory, boolean v1) {
    this.directory = directory;
    this.v1 = v1;
  }

  /** Makes one, or skips the test where that cannot be done. */
  public static MemoryGroup ofBytes(long limit) {
    boolean v1 = Files.exists(V1.resolve("memory.limit_in_bytes"));
    Path parent = v1 ? V1 : V2;
    MemoryGroup group =
        new MemoryGroup(parent.resolve("pgveil-test-" + ProcessHandle.current().pid()), v1);
    try {
      Files.createDirectory(group.directory);
      Files.writeString(
          group.directory.resolve(v1 ? "memory.limit_in_bytes" : "memory.max"), "" + limit);
      return group;
    } catch (IOException e) {
      try {
        group.close();
      } catch (IOException none) {
        e.addSuppressed(none);
      }
      return abort("no memory cgroup can be made: " + e);
    }
  }

  /** The command, so that its process starts in the group. */
  public List<String> command(List<String> command) {
    List<String> inside =
        new ArrayList<>(
            List.of(
                "sh",
                "-c",
                "echo $$ > '%s' && exec \"$@\"".formatted(directory.resolve("cgroup.procs")),
                "sh"));
    inside.addAll(command);
    return inside;
  }

  /** Whether the limit was met. */
  public boolean wasFull() throws IOException {
    if (v1) {
      return Long.parseLong(Files.readString(directory.resolve("memory.failcnt")).strip()) > 0;
    }
    return Files.readAllLines(directory.resolve("memory.events")).stream()
        .anyMatch(line -> line.matches("max [1-9]\\d*"));
  }

  @Override
  public void close() throws IOException {
    // after a failure the daemon still lives in it
    for (String pid : Files.readAllLines(directory.resolve("cgroup.procs"))) {
      try {
        Files.writeString(directory.resolveSibling("cgroup.procs"), pid);
      } catch (IOException e) {
        // it has ended meanwhile
      }
    }
    Files.deleteIfExists(directory);
  }
}
