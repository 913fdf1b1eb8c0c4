package io.pgveil.keys;

import io.pgveil.keys.ProviderException.Code;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A file that only the daemon's user or root may touch, outside the cipher directory and the mount:
 * a keyring or a credential. It is refused otherwise, also through a symbolic link, and that is
 * checked at every use.
 *
 * @param what its name in messages, for example {@code keyring file}
 * @param configured its path as the user gave it
 * @param forbiddenModes permissions that nobody else may have: {@link #SECRET} or {@link #TRUSTED}
 * @param forbiddenRoots see {@link KeyProviderFactory.Context}
 */
public record PrivateFile(
    String what, Path configured, int forbiddenModes, List<Path> forbiddenRoots) {
  /** For a file that others may neither read nor write. */
  public static final int SECRET = 077;

  /** For a file that others may read but not write, such as a certificate. */
  public static final int TRUSTED = 022;

  /**
   * The file's path without symbolic links. Each step is compared with the forbidden roots before
   * it is looked at, because looking into the mount would ask this very process.
   */
  public Path resolve() throws ProviderException {
    if (!configured.isAbsolute()) {
      throw new ProviderException(
          Code.MISPLACED,
          this
              + " is refused: give an absolute path (a relative one would lie in the data directory)");
    }
    return new PathResolver(forbiddenRoots)
        .resolve(configured)
        .orElseThrow(
            () ->
                new ProviderException(
                    Code.MISPLACED,
                    this
                        + " is refused: it lies in the cipher directory or the mount; keep it"
                        + " elsewhere, or whoever gets the data gets the keys"));
  }

  /**
   * Opens the file and checks who can touch it.
   *
   * @param path from {@link #resolve}
   * @return a descriptor, or {@code -ENOENT} if there is no such file
   */
  public int open(Path path, int flags) throws ProviderException {
    int fd = Posix.open(ByteString.of(path), flags | Posix.O_NOFOLLOW | Posix.O_NONBLOCK, 0);
    if (fd == -Errno.ENOENT) {
      return fd;
    }
    if (fd < 0) {
      throw cannot("open", fd);
    }
    Stat stat = new Stat();
    int r = Posix.fstat(fd, stat);
    String objection = r < 0 ? Errno.describe(r) : objection(stat);
    if (objection != null) {
      Posix.close(fd);
      throw new ProviderException(Code.INSECURE, this + " is refused: " + objection);
    }
    return fd;
  }

  private @Nullable String objection(Stat stat) {
    if (!stat.isRegular()) {
      return "it is not a regular file";
    }
    if ((stat.mode & forbiddenModes) != 0) {
      return "its mode %04o lets others than its owner at it; run chmod %s"
          .formatted(stat.mode & 07777, forbiddenModes == SECRET ? "600" : "go-w");
    }
    if (stat.uid != 0 && stat.uid != Posix.geteuid()) {
      return "it belongs to user id %d, and not to the daemon's %d or root; change its owner"
          .formatted(stat.uid, Posix.geteuid());
    }
    return null;
  }

  /**
   * The whole content, which the caller clears if it is secret.
   *
   * @param limit the most bytes that such a file can have
   */
  public byte[] read(int limit) throws ProviderException {
    int fd = open(resolve(), Posix.O_RDONLY);
    if (fd < 0) {
      throw new ProviderException(
          Code.REFUSED, "Failed to open %s %s: no such file".formatted(what, configured));
    }
    try (Arena arena = Arena.ofConfined()) {
      long address = arena.allocate(limit + 1).address();
      long n = Posix.pread(fd, address, limit + 1, 0);
      try {
        if (n < 0) {
          throw cannot("read", (int) n);
        }
        if (n > limit) {
          throw new ProviderException(
              Code.REFUSED, this + " is refused: it has more than " + limit + " bytes");
        }
        byte[] content = new byte[(int) n];
        Memory.copyOut(address, content, 0, content.length);
        return content;
      } finally {
        Memory.fill(address, limit + 1, 0);
      }
    } finally {
      Posix.close(fd);
    }
  }

  private ProviderException cannot(String action, int errno) {
    return new ProviderException(
        Code.UNAVAILABLE,
        "Failed to %s %s %s: %s".formatted(action, what, configured, Errno.describe(errno)));
  }

  @Override
  public String toString() {
    return what + " \"" + configured + "\"";
  }
}
