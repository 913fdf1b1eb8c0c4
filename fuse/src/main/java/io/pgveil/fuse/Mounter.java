package io.pgveil.fuse;

import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Attaches a {@code /dev/fuse} descriptor to a directory, and detaches it. */
final class Mounter {
  private static final Logger LOG = LoggerFactory.getLogger(Mounter.class);
  private static final String DEVICE = "/dev/fuse";

  /** Holds a directory for every connection, named by the minor device number of its files. */
  private static final Path CONNECTIONS = Path.of("/sys/fs/fuse/connections");

  private static final int OWNER_WRITES = 0200;
  private static final Path CONFIGURATION = Path.of("/etc/fuse.conf");

  private Mounter() {}

  /** Checks the mount point, mounts there and returns the descriptor of the new connection. */
  static int mount(MountOptions options) throws MountException {
    Path mountPoint = checkMountPoint(options.mountPoint());
    return isRoot() ? mountAsRoot(mountPoint, options) : mountAsUser(mountPoint, options);
  }

  private static boolean isRoot() {
    return Posix.geteuid() == 0;
  }

  // ---- the mount point ----

  private static Path checkMountPoint(Path given) throws MountException {
    Path mountPoint;
    Optional<Mounts.Mount> mount;
    try {
      mountPoint = Mounts.canonical(given);
      mount = Mounts.find(mountPoint);
    } catch (IOException e) {
      throw new MountException(
          Kind.MOUNT_POINT_MISSING,
          "Mount point " + given + " cannot be reached (" + e + "); create the directory first");
    }
    if (mount.isPresent()) {
      // Before anything asks for its root: a mount whose server hangs would hang us too.
      if (Mounts.isStale(mount.get())) {
        throw new MountException(
            Kind.MOUNT_POINT_STALE,
            "Mount point "
                + given
                + " still has the mount of a process that is gone; unmount it first");
      }
      throw new MountException(
          Kind.MOUNT_POINT_BUSY,
          "Mount point "
              + given
              + " already has a mount of type "
              + mount.get().type()
              + "; unmount it or choose another directory");
    }
    if (!Files.isDirectory(mountPoint)) {
      throw new MountException(
          Kind.MOUNT_POINT_MISSING,
          "Mount point "
              + given
              + (Files.exists(mountPoint) ? " is no directory" : " does not exist")
              + "; create an empty directory there");
    }
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(mountPoint)) {
      if (entries.iterator().hasNext()) {
        throw new MountException(
            Kind.MOUNT_POINT_NOT_EMPTY,
            "Mount point "
                + given
                + " is not empty, and a mount would hide what is in it; choose an empty directory");
      }
    } catch (MountException e) {
      throw e;
    } catch (AccessDeniedException e) {
      // Closed so that nothing is written below the mount; where it belongs to somebody else,
      // fusermount refuses it.
    } catch (IOException | DirectoryIteratorException e) {
      throw new MountException(
          Kind.NO_PERMISSION,
          "Mount point " + given + " cannot be listed (" + e + "); give this user access to it");
    }
    // The serving process would wait for itself.
    for (String property : List.of("user.dir", "java.io.tmpdir")) {
      Path own = Path.of(System.getProperty(property, "/")).toAbsolutePath().normalize();
      if (own.startsWith(mountPoint)) {
        throw new MountException(
            Kind.OTHER,
            "Mount point "
                + given
                + " holds "
                + own
                + " ("
                + property
                + "), which the serving process uses itself; choose another directory");
      }
    }
    return mountPoint;
  }

  // ---- mount(2) ----

  private static int mountAsRoot(Path mountPoint, MountOptions options) throws MountException {
    int device = openDevice();
    String data =
        "fd="
            + device
            + ",rootmode=40000,user_id="
            + Posix.geteuid()
            + ",group_id="
            + Posix.getegid()
            + kernelOptions(options);
    int result =
        Posix.mount(
            ByteString.of(options.fsName()),
            ByteString.of(mountPoint),
            "fuse." + options.subtype(),
            Posix.MS_NOSUID | Posix.MS_NODEV,
            data);
    if (result < 0) {
      Posix.close(device);
      String failed = "Mounting at " + mountPoint + " failed: " + Errno.describe(result) + "; ";
      throw switch (-result) {
        case Errno.EPERM, Errno.EACCES ->
            new MountException(
                Kind.NO_PERMISSION,
                failed + "root without CAP_SYS_ADMIN, as in a container, must not mount");
        case Errno.ENODEV ->
            new MountException(
                Kind.NO_DEVICE, failed + "this kernel has no FUSE (modprobe fuse may help)");
        case Errno.EBUSY -> new MountException(Kind.MOUNT_POINT_BUSY, failed + "it is in use");
        case Errno.ENOENT, Errno.ENOTDIR ->
            new MountException(Kind.MOUNT_POINT_MISSING, failed + "create the directory first");
        default -> new MountException(Kind.OTHER, failed + "mount options were " + data);
      };
    }
    return device;
  }

  private static String kernelOptions(MountOptions options) {
    return ",max_read="
        + options.maxWrite()
        + (options.allowOther() ? ",allow_other" : "")
        + (options.defaultPermissions() ? ",default_permissions" : "");
  }

  static int openDevice() throws MountException {
    int fd = Posix.open(DEVICE, Posix.O_RDWR, 0);
    if (fd >= 0) {
      return fd;
    }
    String failed = "Opening " + DEVICE + " failed: " + Errno.describe(fd) + "; ";
    throw switch (-fd) {
      case Errno.ENOENT, Errno.ENXIO, Errno.ENODEV ->
          new MountException(
              Kind.NO_DEVICE,
              failed
                  + "load the module (modprobe fuse), in a container pass the device"
                  + " (--device /dev/fuse --cap-add SYS_ADMIN)");
      case Errno.EPERM, Errno.EACCES ->
          new MountException(
              Kind.NO_PERMISSION,
              failed + "it must be readable and writable for this user (mode 0666 is usual)");
      default -> new MountException(Kind.OTHER, failed + "see the kernel log");
    };
  }

  // ---- fusermount ----

  private static int mountAsUser(Path mountPoint, MountOptions options) throws MountException {
    // fusermount opens the device with the rights of the user; its refusal would be less clear.
    Posix.close(openDevice());
    if (options.allowOther() && !userAllowOther()) {
      throw new MountException(
          Kind.NO_PERMISSION,
          "Mounting at "
              + mountPoint
              + " for other users (allow_other) needs a line user_allow_other in "
              + CONFIGURATION
              + "; have root add it, or mount for this user only");
    }
    // fusermount wants a mount point that the user may write to. One that is closed, so that
    // nothing is ever written below the mount, is opened for that moment. The descriptor leads
    // below the
    // mount, where the path does not lead any more.
    int directory = Posix.open(ByteString.of(mountPoint), Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    Stat stat = new Stat();
    boolean closed =
        directory >= 0 && Posix.fstat(directory, stat) == 0 && (stat.mode & OWNER_WRITES) == 0;
    if (closed) {
      Posix.fchmod(directory, (stat.mode & 07777) | OWNER_WRITES);
    }
    try {
      return receiveDevice(mountPoint, options);
    } finally {
      if (closed) {
        Posix.fchmod(directory, stat.mode & 07777);
      }
      Posix.close(directory);
    }
  }

  private static int receiveDevice(Path mountPoint, MountOptions options) throws MountException {
    String mountOptions =
        "fsname="
            + escape(options.fsName())
            + ",subtype="
            + options.subtype()
            + kernelOptions(options);
    int[] pair = new int[2];
    int result = Posix.socketpair(pair);
    if (result < 0) {
      throw new MountException(Kind.OTHER, "socketpair failed: " + Errno.describe(result));
    }
    int pid;
    int device;
    try {
      pid = fusermount(List.of("-o", mountOptions, "--", ByteString.of(mountPoint)), pair[1]);
    } catch (MountException e) {
      Posix.close(pair[0]);
      throw e;
    } finally {
      // Ours must be the only end left open, or a fusermount that fails leaves us waiting.
      Posix.close(pair[1]);
    }
    device = Posix.receiveFd(pair[0]);
    Posix.close(pair[0]);
    int exit = Posix.waitFor(pid);
    if (device < 0) {
      throw new MountException(
          Kind.NO_PERMISSION,
          "fusermount could not mount at "
              + mountPoint
              + " (exit code "
              + exit
              + "; its reason is on standard error); the directory must be writable for this user,"
              + " and fusermount must be setuid root");
    }
    return device;
  }

  /** fusermount splits its options at commas; a backslash takes the meaning of the next char. */
  private static String escape(String value) {
    return ByteString.of(value).replace("\\", "\\\\").replace(",", "\\,");
  }

  private static boolean userAllowOther() {
    try {
      return Files.readAllLines(CONFIGURATION).stream()
          .anyMatch(line -> line.strip().equals("user_allow_other"));
    } catch (IOException e) {
      return false;
    }
  }

  /**
   * Starts fusermount3, or fusermount where that is missing.
   *
   * @param socket where it sends the device descriptor; -1: it is not to mount
   * @return the process id
   */
  private static int fusermount(List<String> arguments, int socket) throws MountException {
    String path = System.getenv("PATH");
    Map<String, String> environment =
        Map.of(
            "PATH",
            path == null ? "/usr/bin:/bin" : path,
            "_FUSE_COMMFD",
            Integer.toString(socket));
    int result = 0;
    for (String program : List.of("fusermount3", "fusermount")) {
      List<String> argv = new ArrayList<>();
      argv.add(program);
      argv.addAll(arguments);
      result = Posix.spawn(argv, environment);
      if (result > 0) {
        return result;
      }
    }
    throw new MountException(
        Kind.FUSERMOUNT_MISSING,
        "An ordinary user mounts through fusermount3, which cannot be started ("
            + Errno.describe(result)
            + "); install the package fuse3, or run as root");
  }

  // ---- unmounting ----

  /** Unmounts when nothing is in use; written data has reached the file system then. */
  static void unmount(Mounts.Mount mount) throws MountException {
    int result = isRoot() ? Posix.umount(mount.mountPoint(), 0) : unmountAsUser(mount, "-u");
    if (result != 0) {
      Path path = path(mount);
      if (result == -Errno.EBUSY || result > 0) {
        throw new MountException(
            Kind.IN_USE,
            path
                + " cannot be unmounted: a process has a file of it open or works in it (fuser -vm"
                + " names them); stop it first");
      }
      throw new MountException(
          result == -Errno.EPERM ? Kind.NO_PERMISSION : Kind.OTHER,
          "Unmounting " + path + " failed: " + Errno.describe(result));
    }
  }

  private static int unmountAsUser(Mounts.Mount mount, String... how) throws MountException {
    List<String> arguments = new ArrayList<>(List.of(how));
    arguments.add("--");
    arguments.add(mount.mountPoint());
    return Posix.waitFor(fusermount(arguments, -1));
  }

  private static Path path(Mounts.Mount mount) {
    return Path.of(ByteString.toText(mount.mountPoint()));
  }

  /**
   * Ends the connection, so that its server reads ENODEV and everybody who waits for it or uses it
   * gets an error, and takes the mount out of the tree. An ordinary user can do the first only
   * where the control file system (/sys/fs/fuse/connections) is mounted; elsewhere the connection
   * ends when the last open file is closed.
   */
  static void abortAndDetach(Mounts.Mount mount) throws MountException {
    int result;
    if (isRoot()) {
      // MNT_FORCE aborts the connection before MNT_DETACH acts, needing no control file system.
      result = Posix.umount(mount.mountPoint(), Posix.MNT_FORCE | Posix.MNT_DETACH);
    } else {
      abortConnection(mount);
      result = unmountAsUser(mount, "-u", "-z");
    }
    if (result != 0) {
      throw new MountException(
          result == -Errno.EPERM || result > 0 ? Kind.NO_PERMISSION : Kind.OTHER,
          "Detaching the mount at "
              + path(mount)
              + " failed: "
              + (result < 0 ? Errno.describe(result) : "fusermount exit code " + result)
              + "; only root and the user who mounted may");
    }
  }

  /** Ends the connection of a mount that is no longer in the tree, where that is possible. */
  static void abortConnection(Mounts.Mount mount) {
    Path abort = CONNECTIONS.resolve(Integer.toString(mount.minor())).resolve("abort");
    try {
      if (Files.exists(abort)) {
        Files.writeString(abort, "1");
      }
    } catch (IOException e) {
      LOG.warn("Aborting the FUSE connection by {} failed: {}", abort, e.toString());
    }
  }
}
