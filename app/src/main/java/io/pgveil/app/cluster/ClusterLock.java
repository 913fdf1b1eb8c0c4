package io.pgveil.app.cluster;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.LinuxException;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The lock on a cipher directory: {@code flock} on {@code pg_tde/pgveil.lock}. Whoever reads or
 * writes the key directory holds it, so there is never more than one. The kernel drops it when the
 * process is gone; a daemon drops it after its last request.
 *
 * <p>The file's content is for messages and for finding the daemon; it counts only while the lock
 * is held. The file stays when the lock is released: unlinking it would let two processes lock two
 * files of the same name.
 */
public final class ClusterLock implements AutoCloseable {
  private static final String NAME = "pgveil.lock";
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Who holds the lock.
   *
   * @param pid its process
   * @param command what it does, for example {@code "mount"}
   * @param socket path of its control socket, null if it has none (yet)
   * @param mountPoint where it serves the cipher directory, null if it does not
   */
  public record Holder(
      long pid, String command, @Nullable String socket, @Nullable String mountPoint) {
    /** Taken a moment ago and not yet described. */
    static final Holder UNKNOWN = new Holder(0, "starting", null, null);
  }

  private final Path file;
  private int fd;

  private ClusterLock(Path file, int fd) {
    this.file = file;
    this.fd = fd;
  }

  /**
   * Takes the lock.
   *
   * @throws CommandException {@link ExitCode#ALREADY_SERVED}, naming the process that holds it
   */
  public static ClusterLock acquire(Path cipherDirectory, String command) throws CommandException {
    Optional<ClusterLock> lock = tryAcquire(cipherDirectory, command);
    if (lock.isPresent()) {
      return lock.get();
    }
    Holder holder = holder(cipherDirectory).orElse(Holder.UNKNOWN);
    throw new CommandException(
        ExitCode.ALREADY_SERVED,
        "cannot use the cipher directory",
        cipherDirectory,
        "process %d (pgveil %s) works on it".formatted(holder.pid, holder.command));
  }

  /** Takes the lock unless somebody holds it. */
  public static Optional<ClusterLock> tryAcquire(Path cipherDirectory, String command)
      throws CommandException {
    return lock(cipherDirectory, command, Posix.LOCK_EX | Posix.LOCK_NB);
  }

  /** Takes the lock as soon as nobody holds it: after an unmount, when the old daemon is done. */
  public static ClusterLock await(Path cipherDirectory, String command) throws CommandException {
    return lock(cipherDirectory, command, Posix.LOCK_EX).orElseThrow();
  }

  private static Optional<ClusterLock> lock(Path cipherDirectory, String command, int operation)
      throws CommandException {
    Path file = file(cipherDirectory);
    int fd = Posix.open(ByteString.of(file), Posix.O_RDWR | Posix.O_CREAT | Posix.O_NOFOLLOW, 0600);
    if (fd < 0) {
      throw failure(file, fd);
    }
    int result;
    do {
      result = Posix.flock(fd, operation);
    } while (result == -Errno.EINTR);
    if (result < 0) {
      Posix.close(fd);
      if (result == -Errno.EAGAIN) {
        return Optional.empty();
      }
      throw failure(file, result);
    }
    ClusterLock lock = new ClusterLock(file, fd);
    try {
      lock.describe(command, null, null);
    } catch (CommandException e) {
      lock.close();
      throw e;
    }
    return Optional.of(lock);
  }

  /** Who holds the lock now, if anybody does. */
  public static Optional<Holder> holder(Path cipherDirectory) throws CommandException {
    Path file = file(cipherDirectory);
    int fd = Posix.open(ByteString.of(file), Posix.O_RDWR | Posix.O_NOFOLLOW, 0);
    if (fd == -Errno.ENOENT) {
      return Optional.empty();
    }
    if (fd < 0) {
      throw failure(file, fd);
    }
    try {
      if (Posix.flock(fd, Posix.LOCK_EX | Posix.LOCK_NB) == 0) {
        return Optional.empty();
      }
    } finally {
      Posix.close(fd);
    }
    try {
      return Optional.of(parse(Files.readAllBytes(file)));
    } catch (IOException e) {
      return Optional.of(Holder.UNKNOWN);
    }
  }

  /**
   * Reads what a holder has written. Whoever can write in the cipher directory can write it too, so
   * nothing is taken for granted.
   */
  static Holder parse(byte[] content) throws IOException {
    Holder holder = JSON.readValue(content, Holder.class);
    return holder == null || holder.command == null || isNoPath(holder.socket)
        ? Holder.UNKNOWN
        : holder;
  }

  private static boolean isNoPath(@Nullable String path) {
    return path != null && (!path.startsWith("/") || path.indexOf(0) >= 0);
  }

  /** Tells others where the daemon's control socket and its mount are. */
  public void describe(String command, @Nullable Path socket, @Nullable Path mountPoint)
      throws CommandException {
    Holder holder =
        new Holder(
            ProcessHandle.current().pid(),
            command,
            socket == null ? null : socket.toString(),
            mountPoint == null ? null : mountPoint.toString());
    byte[] content;
    try {
      content = JSON.writeValueAsString(holder).getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
    try (Arena arena = Arena.ofConfined()) {
      long address = arena.allocate(content.length).address();
      Memory.copyIn(content, 0, address, content.length);
      LinuxException.check(Posix.ftruncate(fd, 0), "truncate");
      LinuxException.check(Posix.pwrite(fd, address, content.length, 0), "write");
    } catch (LinuxException e) {
      throw failure(file, e.errno());
    }
  }

  private static Path file(Path cipherDirectory) {
    return cipherDirectory.resolve(CipherDirectory.KEYS).resolve(NAME);
  }

  private static CommandException failure(Path file, int errno) {
    int e = Math.abs(errno);
    ExitCode code =
        switch (e) {
          case Errno.EACCES, Errno.EPERM, Errno.EROFS -> ExitCode.NO_PERMISSION;
          case Errno.ENOSPC, Errno.EDQUOT -> ExitCode.DISK_FULL;
          default -> ExitCode.IO_ERROR;
        };
    return new CommandException(code, "cannot lock the cipher directory", file, Errno.describe(e));
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Posix.close(fd);
      fd = -1;
    }
  }
}
