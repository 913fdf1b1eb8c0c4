package io.pgveil.app.cluster;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import io.pgveil.fuse.Mounts;
import io.pgveil.fuse.Mounts.Mount;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Mount points and what the kernel says is mounted there. */
public final class MountPoint {
  /** File system type of our mounts in /proc/self/mountinfo. */
  public static final String TYPE = "fuse.pgveil";

  private static final Logger LOG = LoggerFactory.getLogger(MountPoint.class);

  private MountPoint() {}

  /**
   * Makes sure that something can be mounted on {@code directory}, and that PostgreSQL and initdb
   * fail there while nothing is: the bare directory gets a mode that forbids everybody to read it.
   *
   * <p>An ordinary user's mode keeps the bits that fusermount3 insists on, 0300.
   *
   * @param cipherDirectory what is to be served there; the caller holds its lock, so a mount of it
   *     that is still there has lost its daemon, and is removed
   */
  public static Path prepare(Path directory, Path cipherDirectory) throws CommandException {
    Path path = directory.toAbsolutePath().normalize();
    Optional<Mount> existing = find(path);
    if (existing.isPresent()
        && existing.get().type().equals(TYPE)
        && existing.get().source().equals(ByteString.of(cipherDirectory))) {
      LOG.warn("removing the mount on {} that a daemon has left when it died", path);
      detach(path, true);
      existing = find(path);
    }
    if (existing.isPresent()) {
      throw new CommandException(
          ExitCode.MOUNT_POINT_BUSY, "cannot mount", path, "something is mounted there already");
    }
    if (!Files.isDirectory(path)) {
      throw new CommandException(
          ExitCode.MOUNT_POINT_MISSING,
          "cannot mount",
          path,
          Files.exists(path) ? "not a directory" : "no such directory");
    }
    try {
      requireEmpty(path);
      boolean root = Posix.geteuid() == 0;
      if (root) {
        Files.setAttribute(path, "unix:uid", 0, LinkOption.NOFOLLOW_LINKS);
        Files.setAttribute(path, "unix:gid", 0, LinkOption.NOFOLLOW_LINKS);
      }
      Files.setPosixFilePermissions(path, Modes.of(root ? 0 : 0300));
      return path.toRealPath();
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot prepare the mount point",
              path,
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  private static void requireEmpty(Path directory) throws IOException, CommandException {
    try (Stream<Path> files = Files.list(directory)) {
      if (files.findAny().isPresent()) {
        throw new CommandException(
            ExitCode.MOUNT_POINT_NOT_EMPTY,
            "cannot mount",
            directory,
            "the directory is not empty");
      }
    } catch (AccessDeniedException e) {
      // the mode that an earlier mount gave it: nobody could put anything there
    }
  }

  /** The mount on exactly this directory, the topmost if there are several. */
  static Optional<Mount> find(Path directory) throws CommandException {
    String path = ByteString.of(directory);
    return mounts().stream()
        .filter(m -> m.mountPoint().equals(path))
        .reduce((first, second) -> second);
  }

  /** The mount of ours on this directory, or the one that serves this cipher directory. */
  static Mount requireOurs(Path directory) throws CommandException {
    Path path = directory.toAbsolutePath().normalize();
    Path cipher = Layout.cipherDirectory(path);
    return mounts().stream()
        .filter(m -> m.type().equals(TYPE))
        .filter(
            m ->
                m.mountPoint().equals(ByteString.of(path))
                    || m.source().equals(ByteString.of(cipher)))
        .reduce((first, second) -> second)
        .orElseThrow(
            () ->
                new CommandException(
                    ExitCode.NOT_MOUNTED,
                    "cannot unmount",
                    path,
                    "no pgveil file system is mounted there or serves this directory"));
  }

  /**
   * Unmounts and waits until the daemon has let go of the cipher directory.
   *
   * @param directory mount point, cipher directory or {@code up} directory
   * @return the mount point
   */
  public static Path unmount(Path directory) throws CommandException {
    Mount mount = requireOurs(directory);
    Path mountPoint = Path.of(ByteString.toText(mount.mountPoint()));
    detach(mountPoint, false);
    Path cipher = Path.of(ByteString.toText(mount.source()));
    if (Files.isDirectory(cipher.resolve(CipherDirectory.KEYS))) {
      ClusterLock.await(cipher, "umount").close();
    }
    return mountPoint;
  }

  /**
   * Removes a mount.
   *
   * @param dead also while processes use it: all they get is errors
   */
  private static void detach(Path mountPoint, boolean dead) throws CommandException {
    int result =
        Posix.geteuid() == 0
            ? Posix.umount(ByteString.of(mountPoint), dead ? Posix.MNT_DETACH : 0)
            : fusermount(dead ? "-uz" : "-u", mountPoint);
    if (result < 0) {
      ExitCode code =
          switch (-result) {
            case Errno.EBUSY -> ExitCode.MOUNT_POINT_BUSY;
            case Errno.EINVAL -> ExitCode.NOT_MOUNTED;
            case Errno.ENOENT -> ExitCode.HELPER_MISSING;
            default -> ExitCode.NO_PERMISSION;
          };
      throw new CommandException(code, "cannot unmount", mountPoint, Errno.describe(result));
    }
  }

  private static int fusermount(String how, Path mountPoint) {
    try {
      Process process =
          new ProcessBuilder("fusermount3", how, "--", mountPoint.toString())
              .directory(Path.of("/").toFile())
              .redirectErrorStream(true)
              .start();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() == 0) {
        return 0;
      }
      return output.contains("busy") ? -Errno.EBUSY : -Errno.EPERM;
    } catch (IOException e) {
      return -Errno.ENOENT;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return -Errno.EINTR;
    }
  }

  private static List<Mount> mounts() throws CommandException {
    try {
      return Mounts.all();
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot list mounts",
              Path.of("/proc/self/mountinfo"),
              CommandException.reason(e))
          .causedBy(e);
    }
  }
}
