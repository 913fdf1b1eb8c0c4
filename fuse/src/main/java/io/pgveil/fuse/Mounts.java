package io.pgveil.fuse;

import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The mounts of this process's mount namespace, and what to do about a FUSE mount left behind. */
public final class Mounts {
  private static final Path MOUNTINFO = Path.of("/proc/self/mountinfo");

  private Mounts() {}

  /**
   * One line of mountinfo (proc(5)).
   *
   * @param major first half of the device number of its files; 0 for FUSE
   * @param minor second half; for FUSE also the number of the connection
   * @param mountPoint absolute, as a byte string, no escapes
   * @param type for example {@code fuse.pgveil}
   * @param source what was mounted, as a byte string, no escapes
   */
  public record Mount(int major, int minor, String mountPoint, String type, String source) {
    public boolean isFuse() {
      return type.equals("fuse") || type.startsWith("fuse.");
    }

    /** {@code major:minor}, as /sys names the device. */
    public String device() {
      return major + ":" + minor;
    }
  }

  /** All mounts, those on top of others behind them. */
  public static List<Mount> all() throws IOException {
    return parse(Files.readString(MOUNTINFO, StandardCharsets.ISO_8859_1));
  }

  static List<Mount> parse(String mountinfo) throws IOException {
    List<Mount> mounts = new ArrayList<>();
    for (String line : mountinfo.split("\n", -1)) {
      if (line.isEmpty()) {
        continue;
      }
      // id parent major:minor root mountpoint options [optional ...] - type source superoptions
      String[] fields = line.split(" ", -1);
      int dash = 6;
      while (dash < fields.length && !fields[dash].equals("-")) {
        dash++;
      }
      int colon = fields.length > 2 ? fields[2].indexOf(':') : -1;
      if (dash + 2 >= fields.length || colon < 0) {
        throw new IOException(MOUNTINFO + ": a line that is no mount: " + line);
      }
      try {
        mounts.add(
            new Mount(
                Integer.parseInt(fields[2].substring(0, colon)),
                Integer.parseInt(fields[2].substring(colon + 1)),
                unescape(fields[4]),
                unescape(fields[dash + 1]),
                unescape(fields[dash + 2])));
      } catch (NumberFormatException e) {
        throw new IOException(MOUNTINFO + ": a line that is no mount: " + line, e);
      }
    }
    return mounts;
  }

  /** Space, tab, newline and backslash are written as a backslash and three octal digits. */
  private static String unescape(String s) {
    if (s.indexOf('\\') < 0) {
      return s;
    }
    StringBuilder b = new StringBuilder(s.length());
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c == '\\' && i + 3 < s.length()) {
        int value = 0;
        for (int k = 1; k <= 3; k++) {
          value = value << 3 | (s.charAt(i + k) - '0');
        }
        b.append((char) (value & 0xff));
        i += 3;
      } else {
        b.append(c);
      }
    }
    return b.toString();
  }

  /**
   * The topmost mount at exactly {@code mountPoint}. Asks nothing of what is mounted there, which
   * may be dead or hang.
   */
  public static Optional<Mount> find(Path mountPoint) throws IOException {
    return topmost(ByteString.of(canonical(mountPoint)));
  }

  private static Optional<Mount> topmost(String path) throws IOException {
    Mount found = null;
    for (Mount mount : all()) {
      if (mount.mountPoint().equals(path)) {
        found = mount;
      }
    }
    return Optional.ofNullable(found);
  }

  /** The absolute path without symbolic links; asks nothing of a mount at its end. */
  static Path canonical(Path path) throws IOException {
    Path absolute = path.toAbsolutePath().normalize();
    Path parent = absolute.getParent();
    Path name = absolute.getFileName();
    if (parent == null || name == null) {
      return absolute;
    }
    Path direct = parent.toRealPath().resolve(name);
    if (topmost(ByteString.of(direct)).isPresent() || !Files.isSymbolicLink(direct)) {
      return direct;
    }
    return direct.toRealPath();
  }

  /**
   * Whether the process that served {@code mount} is gone. Of a mount that its owner keeps to
   * himself others cannot tell: false, for root too.
   */
  public static boolean isStale(Mount mount) {
    if (!mount.isFuse()) {
      return false;
    }
    // STATFS is never answered from a cache, unlike attributes; O_PATH asks nothing.
    int fd = Posix.open(mount.mountPoint(), Posix.O_PATH, 0);
    if (fd < 0) {
      return isGone(fd);
    }
    long buffer = Posix.mmapAnonymous(Protocol.PAGE);
    try {
      return isGone(Posix.fstatfs(fd, buffer));
    } finally {
      Posix.munmap(buffer, Protocol.PAGE);
      Posix.close(fd);
    }
  }

  /** The first two for the moment in which the kernel takes the rings of a dead process apart. */
  private static boolean isGone(int result) {
    return result == -Errno.ECANCELED || result == -Errno.ECONNABORTED || result == -Errno.ENOTCONN;
  }

  /**
   * Removes what dead servers left mounted at {@code mountPoint}: aborts the connection, so that
   * whoever still waits for it gets an error, and detaches the mount, also when files of it are
   * open. A living mount is left alone.
   *
   * @return whether there was one
   * @throws MountException if a stale mount cannot be removed
   */
  public static boolean removeStale(Path mountPoint) throws IOException {
    boolean removed = false;
    Optional<Mount> mount = find(mountPoint);
    while (mount.isPresent() && isStale(mount.get())) {
      Mounter.abortAndDetach(mount.get());
      removed = true;
      Optional<Mount> next = find(mountPoint);
      if (next.equals(mount)) {
        throw new MountException(
            Kind.OTHER,
            mountPoint + " is still mounted after it was unmounted; umount -l it by hand");
      }
      mount = next;
    }
    return removed;
  }
}
