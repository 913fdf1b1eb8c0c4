package io.pgveil.tests.command;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A directory of {@code pgveil up}.
 *
 * @param root the directory that {@code up} is given
 */
record UpDirectory(Path root) {
  /** The last line that {@code up} prints when the server can be used. */
  static final String READY = "Ctrl-C stops PostgreSQL and unmounts.";

  private static final Pattern CONNECTION =
      Pattern.compile("postgresql://postgres@127.0.0.1:(\\d+)/postgres\\?passfile=(\\S+?)'");

  /** Makes a test's temporary directory one that the server's user can pass through. */
  static UpDirectory in(Path temporary) throws IOException {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    return new UpDirectory(temporary.resolve("up"));
  }

  Path cipher() {
    return root.resolve("cipher");
  }

  Path keys() {
    return cipher().resolve("pg_tde");
  }

  Path mount() {
    return root.resolve("mount");
  }

  Path keyring() {
    return root.resolve("keyring/keyring.file");
  }

  Path log() {
    return root.resolve("log/pgveil.log");
  }

  /** Starts the cluster, making it first if need be, on any free port. */
  Running up(Installation.Home home, Object... more) throws IOException, InterruptedException {
    Running up = home.command("up", root).with(more).start();
    try {
      return up.await(READY);
    } catch (AssertionError e) {
      up.close();
      throw e;
    }
  }

  /** For a cluster that starts again: the usual port may be another test's by then. */
  static int freePort() throws IOException {
    try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return any.getLocalPort();
    }
  }

  /** A connection to the server that has told how to connect. */
  static Connection connect(Running up) throws SQLException, IOException {
    Matcher m = CONNECTION.matcher(up.output());
    if (!m.find()) {
      throw new AssertionError("no connection string:\n" + up.output());
    }
    String line = Files.readString(Path.of(m.group(2))).strip();
    return DriverManager.getConnection(
        "jdbc:postgresql://127.0.0.1:" + m.group(1) + "/postgres",
        "postgres",
        line.substring(line.lastIndexOf(':') + 1));
  }

  /** Runs one statement; the first value of its result, if there is one. */
  static String sql(Running up, String statement) throws SQLException, IOException {
    try (Connection c = connect(up);
        Statement s = c.createStatement()) {
      if (!s.execute(statement)) {
        return "";
      }
      try (ResultSet r = s.getResultSet()) {
        return r.next() ? String.valueOf(r.getString(1)) : "";
      }
    }
  }

  /** Whether something is mounted at the mount point. */
  boolean isMounted() throws IOException {
    return isMounted(mount());
  }

  static boolean isMounted(Path mountPoint) throws IOException {
    return Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
        .anyMatch(l -> l.contains(" " + mountPoint + " ") && l.contains("fuse.pgveil"));
  }

  /** Takes away a mount that a failed test has left. */
  void discard() throws IOException {
    while (isMounted()) {
      if (Command.of("umount", "-l", mount()).run().code() != 0) {
        throw new AssertionError("cannot unmount " + mount());
      }
    }
  }
}
