package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.Layout;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.LinuxException;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/**
 * The first use of a directory by {@code up}, which can be interrupted anywhere. A marker file is
 * durable before the first key is made, and is removed, durably, when {@code up.json} is durable
 * and before a server starts. So where the marker is, no server has ever run and nothing of value
 * can be lost: the next use starts over. Where neither file is, that is not known, and nothing is
 * removed.
 *
 * <p>A lock on the cipher directory keeps a second {@code up} from taking a first use that goes on
 * for an interrupted one; the lock on the cluster itself exists only when its key directory does.
 */
final class FirstUse implements AutoCloseable {
  private static final String TEXT =
      "'pgveil up' is making this cluster, or was interrupted; its next use starts over.\n";

  /** The last file of a new key directory. */
  private static final String DEFAULT_KEY = "1663_keys";

  private final Path marker;
  private final Path cipher;
  private final int fd;

  private FirstUse(Path marker, Path cipher, int fd) {
    this.marker = marker;
    this.cipher = cipher;
    this.fd = fd;
  }

  /** Takes the lock on the cipher directory, which exists. */
  static FirstUse lock(Layout layout) throws CommandException, IOException {
    Path cipher = layout.cipher();
    int fd =
        LinuxException.check(
            Posix.open(ByteString.of(cipher), Posix.O_RDONLY | Posix.O_DIRECTORY, 0),
            "open of " + cipher);
    int r = Posix.flock(fd, Posix.LOCK_EX | Posix.LOCK_NB);
    if (r == 0) {
      return new FirstUse(layout.firstUse(), cipher, fd);
    }
    Posix.close(fd);
    if (r == -Errno.EAGAIN) {
      throw new CommandException(
          ExitCode.ALREADY_SERVED,
          "cannot use the directory",
          layout.root(),
          "another 'pgveil up' is starting it");
    }
    throw new LinuxException("flock of " + cipher, r);
  }

  /** Whether a first use was interrupted before the cluster was complete. */
  boolean wasInterrupted() throws IOException {
    // a postmaster leaves this file for ever, initdb never makes it
    return isOurs(marker) && !Files.exists(cipher.resolve("postmaster.opts"));
  }

  /** Says durably that there is a first use. */
  void begin() throws IOException {
    Durable.write(marker, TEXT.getBytes(StandardCharsets.UTF_8), 0644);
  }

  /** Says durably that there is none; before, {@code up.json} must be durable. */
  void end() throws IOException {
    if (isOurs(marker) && Files.deleteIfExists(marker)) {
      Durable.sync(marker.resolveSibling("."));
    }
  }

  /**
   * After an interruption: makes the cipher directory one that can be mounted, or an empty one. A
   * complete key directory is kept, and with it the keyring that was chosen.
   */
  void repair() throws IOException {
    Path keys = cipher.resolve(CipherDirectory.KEYS);
    List<Path> content;
    try (Stream<Path> files = Files.list(cipher)) {
      content = files.toList();
    }
    if (content.equals(List.of(keys)) && !Files.exists(keys.resolve(DEFAULT_KEY))) {
      KeyDirectory.discard(keys);
    }
    // half a control file is refused at the mount; the rest is removed through the mount
    Files.deleteIfExists(cipher.resolve("global/pg_control"));
  }

  /**
   * Somebody uses a cipher directory without {@code up}: whatever a first use had left there, it is
   * no longer known to be worth nothing.
   */
  static void forget(Path cipherDirectory) throws CommandException {
    Layout layout = new Layout(cipherDirectory.resolveSibling("."));
    Path marker = layout.firstUse();
    if (!layout.cipher().endsWith(cipherDirectory.getFileName())) {
      // not made by up: what stands beside it is not ours
      return;
    }
    try {
      if (isOurs(marker) && Files.deleteIfExists(marker)) {
        Durable.sync(marker.resolveSibling("."));
      }
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot remove the marker of an interrupted first use",
              marker,
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /** A file of that name with another content is somebody else's, and says nothing. */
  private static boolean isOurs(Path marker) throws IOException {
    byte[] text = TEXT.getBytes(StandardCharsets.UTF_8);
    return Files.isRegularFile(marker)
        && Files.size(marker) == text.length
        && Arrays.equals(Files.readAllBytes(marker), text);
  }

  @Override
  public void close() {
    Posix.close(fd);
  }
}
