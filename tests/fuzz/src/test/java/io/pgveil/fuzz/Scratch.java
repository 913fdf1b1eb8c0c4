package io.pgveil.fuzz;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** A directory for the files of one target, in memory where that can be had; removed at the end. */
public final class Scratch {
  private static final Path MEMORY = Path.of("/dev/shm");

  private Scratch() {}

  /** A new directory of mode 0700. */
  public static Path directory(String name) {
    try {
      Path made =
          Files.isWritable(MEMORY)
              ? Files.createTempDirectory(MEMORY, "pgveil-" + name)
              : Files.createTempDirectory("pgveil-" + name);
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(made)));
      return made;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Writes a file of mode 0600, and the directories above it. */
  public static void write(Path file, byte[] content) {
    try {
      Files.createDirectories(file.getParent());
      Files.write(file, content);
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Removes what is in a directory. */
  public static void clear(Path directory) {
    try (Stream<Path> files = Files.walk(directory)) {
      List<Path> below =
          files.filter(f -> !f.equals(directory)).sorted(Comparator.reverseOrder()).toList();
      for (Path file : below) {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void delete(Path directory) {
    clear(directory);
    try {
      Files.delete(directory);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
