package io.pgveil.app;

import io.pgveil.app.postgres.Modes;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.LinuxException;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/** Files and directories that a power cut does not take back: their names are synced too. */
final class Durable {
  private Durable() {}

  /** Makes the names in a directory durable. */
  static void sync(Path directory) throws IOException {
    int fd =
        LinuxException.check(
            Posix.open(ByteString.of(directory), Posix.O_RDONLY | Posix.O_DIRECTORY, 0),
            "open of " + directory);
    try {
      LinuxException.check(Posix.fsync(fd), "fsync of " + directory);
    } finally {
      Posix.close(fd);
    }
  }

  /**
   * Makes a directory and those above it that are missing.
   *
   * @param mode of each of them
   * @return those that were made, the deepest first
   */
  static List<Path> makeDirectories(Path directory, int mode) throws IOException {
    Deque<Path> missing = new ArrayDeque<>();
    for (Path p = directory.toAbsolutePath().normalize();
        p != null && !Files.isDirectory(p);
        p = p.getParent()) {
      missing.push(p);
    }
    Deque<Path> made = new ArrayDeque<>();
    try {
      for (Path p : missing) {
        try {
          Files.createDirectory(p, Modes.with(mode));
          made.push(p);
        } catch (FileAlreadyExistsException e) {
          if (!Files.isDirectory(p)) {
            throw e;
          }
        }
        sync(p.resolveSibling("."));
      }
    } catch (IOException e) {
      removeEmpty(List.copyOf(made));
      throw e;
    }
    return List.copyOf(made);
  }

  /** Takes directories back that {@link #makeDirectories} has made, unless something is in them. */
  static void removeEmpty(List<Path> deepestFirst) throws IOException {
    for (Path p : deepestFirst) {
      try {
        Files.deleteIfExists(p);
      } catch (DirectoryNotEmptyException e) {
        return;
      }
    }
  }

  /** Replaces or makes a file: at any crash it has the old content or the new. */
  static void write(Path file, byte[] content, int mode) throws IOException {
    Path temporary = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(temporary);
    Files.createFile(temporary, Modes.with(mode));
    try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
      ByteBuffer rest = ByteBuffer.wrap(content);
      while (rest.hasRemaining()) {
        channel.write(rest);
      }
      channel.force(true);
    }
    Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    sync(file.resolveSibling("."));
  }
}
