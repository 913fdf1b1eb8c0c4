package io.pgveil.app.cluster;

import io.pgveil.linux.Posix;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;

/**
 * Where things go.
 *
 * <p>A directory of {@code pgveil up}:
 *
 * <pre>
 *   cipher/                  the cipher directory                          0700, PostgreSQL's user
 *   mount/                   the mount point                               0000, ours
 *   keyring/keyring.file     the principal keys                            0700/0600, ours
 *   run/                     PostgreSQL's Unix socket                      0755, PostgreSQL's user
 *   log/                     pgveil.log, postgresql-start.log              0750, ours
 *   pgpass                   the superuser's password, as libpq reads it   0600, ours
 *   up.json                  major version and port                        0644, ours
 *   first-use                there until the cluster is complete           0644, ours
 * </pre>
 *
 * The keyring lies outside the cipher directory: who copies or steals the latter has no key.
 *
 * @param root the directory given to {@code up}, absolute
 */
public record Layout(Path root) {
  /** Longest path of a Unix socket: sun_path has 108 bytes with the final NUL. */
  static final int MAX_SOCKET_PATH = 107;

  public Layout {
    root = root.toAbsolutePath().normalize();
  }

  /** Where {@code up} works if no directory is given. */
  public static Path defaultRoot() {
    return Posix.geteuid() == 0
        ? Path.of("/var/lib/pgveil")
        : Path.of(System.getProperty("user.home"), "pgveil-data");
  }

  public Path cipher() {
    return root.resolve("cipher");
  }

  public Path mount() {
    return root.resolve("mount");
  }

  public Path keyring() {
    return root.resolve("keyring").resolve("keyring.file");
  }

  public Path sockets() {
    return root.resolve("run");
  }

  public Path log() {
    return root.resolve("log").resolve("pgveil.log");
  }

  public Path postgresStartLog() {
    return root.resolve("log").resolve("postgresql-start.log");
  }

  public Path passwordFile() {
    return root.resolve("pgpass");
  }

  public Path settings() {
    return root.resolve("up.json");
  }

  /** Marker of a first use that goes on or was interrupted. */
  public Path firstUse() {
    return root.resolve("first-use");
  }

  /** Whether PostgreSQL's socket for a port of five digits fits below {@link #sockets}. */
  public boolean socketFits() {
    return fits(sockets().resolve(".s.PGSQL.65535"));
  }

  static boolean fits(Path socket) {
    return socket.toString().getBytes(StandardCharsets.UTF_8).length <= MAX_SOCKET_PATH;
  }

  /**
   * The cipher directory that a user means: the directory itself, or that of an {@code up}
   * directory.
   */
  public static Path cipherDirectory(Path given) {
    Path absolute = given.toAbsolutePath().normalize();
    Path below = absolute.resolve("cipher");
    return below.resolve(CipherDirectory.KEYS).toFile().isDirectory() ? below : absolute;
  }

  /**
   * Directory of the control socket of a daemon; its path is short and depends only on the user and
   * the cipher directory.
   */
  public static Path runDirectory(Path cipherDirectory) {
    return runDirectory(cipherDirectory, Posix.geteuid(), System.getenv());
  }

  static Path runDirectory(Path cipherDirectory, int uid, Map<String, String> environment) {
    String runtime = environment.getOrDefault("XDG_RUNTIME_DIR", "");
    Path base;
    if (uid == 0) {
      base = Path.of("/run/pgveil");
    } else if (runtime.startsWith("/") && runtime.length() <= 60) {
      base = Path.of(runtime, "pgveil");
    } else {
      base = Path.of("/tmp/pgveil-" + uid);
    }
    return base.resolve(identifier(cipherDirectory));
  }

  /** Log file of a daemon that was given none. */
  public static Path logFile(Path cipherDirectory) {
    return logFile(cipherDirectory, Posix.geteuid(), System.getenv());
  }

  static Path logFile(Path cipherDirectory, int uid, Map<String, String> environment) {
    String state = environment.getOrDefault("XDG_STATE_HOME", "");
    Path base;
    if (uid == 0) {
      base = Path.of("/var/log/pgveil");
    } else if (state.startsWith("/")) {
      base = Path.of(state, "pgveil");
    } else {
      base = Path.of(System.getProperty("user.home"), ".local/state/pgveil");
    }
    return base.resolve(cipherDirectory.getFileName() + "-" + identifier(cipherDirectory) + ".log");
  }

  /** 12 hexadecimal digits that stand for a path. */
  private static String identifier(Path path) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256")
              .digest(path.toString().getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(hash, 0, 6);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
