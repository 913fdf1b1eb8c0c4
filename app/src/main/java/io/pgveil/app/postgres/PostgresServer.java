package io.pgveil.app.postgres;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One PostgreSQL server as a child process, from initdb to shutdown.
 *
 * <p>This process never opens a file of the data directory: that may be a mount which this very
 * process serves. What has to be read there is read by child processes.
 *
 * <p>A thread of its own starts the postmaster and waits for it. The kernel's parent-death signal
 * belongs to the starting thread, so the postmaster gets SIGQUIT exactly when this process is gone.
 *
 * <p>Not for use by several threads at once, except {@link #exit} and {@link #connect}.
 */
public final class PostgresServer implements AutoCloseable {
  public static final String SUPERUSER = "postgres";

  /** How PostgreSQL is to stop. */
  public enum Stop {
    /** Disconnects the sessions and writes a checkpoint. */
    FAST(2),
    /** As a crash of every backend: the next start recovers. */
    IMMEDIATE(3);

    private final int signal;

    Stop(int signal) {
      this.signal = signal;
    }
  }

  /**
   * What to start and how.
   *
   * @param dataDirectory PGDATA; may lie on a mount that this process serves
   * @param socketDirectory where the Unix socket goes, outside the data directory and writable for
   *     the user
   * @param startLog what the postmaster prints before its own log begins, outside the data
   *     directory
   * @param port TCP port on 127.0.0.1
   * @param password of the superuser, for the connections of this process
   * @param settings further configuration parameters, stronger than those in postgresql.conf
   */
  public record Config(
      PostgresBinaries binaries,
      RunAs runAs,
      Path dataDirectory,
      Path socketDirectory,
      Path startLog,
      int port,
      String password,
      Map<String, String> settings) {
    @Override
    public String toString() {
      return "PostgreSQL %s on %s, port %d".formatted(binaries.version(), dataDirectory, port);
    }
  }

  private static final Logger LOG = LoggerFactory.getLogger(PostgresServer.class);
  private static final InetAddress LOOPBACK = InetAddress.ofLiteral("127.0.0.1");
  private static final Duration POLL = Duration.ofMillis(50);

  private final Config config;
  private @Nullable Postmaster postmaster;

  private record Postmaster(long pid, CompletableFuture<Integer> exit) {}

  public PostgresServer(Config config) {
    this.config = config;
  }

  /**
   * Makes a cluster with data checksums, whose roles need a password (scram-sha-256) on TCP and on
   * the Unix socket: other users of the machine can reach both.
   *
   * @param passwordFile holds the superuser's password and is readable by the server's user
   * @param options further options of initdb
   */
  public static void initdb(
      PostgresBinaries binaries,
      RunAs runAs,
      Path dataDirectory,
      Path passwordFile,
      List<String> options)
      throws CommandException {
    List<String> command =
        new ArrayList<>(
            List.of(
                binaries.program("initdb"),
                "--pgdata=" + dataDirectory,
                "--username=" + SUPERUSER,
                "--pwfile=" + passwordFile,
                "--auth=scram-sha-256",
                "--data-checksums",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions"));
    command.addAll(options);
    try {
      Child.Result result = Child.run(runAs.command(command));
      if (result.exitCode() != 0) {
        throw new CommandException(
            ExitCode.POSTGRES_FAILED,
            "initdb failed: %s: exit code %d%n%s"
                .formatted(dataDirectory, result.exitCode(), result.output().strip()),
            "see the last lines of its output above");
      }
    } catch (IOException e) {
      throw RunAs.helperMissing(e);
    }
  }

  /** Whether nobody listens on this TCP port of 127.0.0.1. */
  public static boolean isFree(int port) {
    try (ServerSocket socket = new ServerSocket()) {
      socket.bind(new InetSocketAddress(LOOPBACK, port));
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** A TCP port of 127.0.0.1 on which nobody listens now. */
  public static int anyFreePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, LOOPBACK)) {
      return socket.getLocalPort();
    }
  }

  /** What a data directory holds. */
  public enum Content {
    NOTHING,
    /** At least what every cluster has. */
    CLUSTER,
    OTHER
  }

  /** Looks into the data directory. */
  public Content content() throws CommandException {
    String script =
        """
        cd "$1" && names=$(ls -A) || exit
        if [ -z "$names" ]; then echo NOTHING
        elif [ -s PG_VERSION ] && [ -s global/pg_control ]; then echo CLUSTER
        else echo OTHER
        fi
        """;
    Child.Result result =
        runAsUser(List.of("sh", "-c", script, "sh", config.dataDirectory.toString()));
    String answer = result.output().strip();
    if (result.exitCode() != 0) {
      throw new CommandException(
          ExitCode.IO_ERROR, "cannot look into the data directory", config.dataDirectory, answer);
    }
    return Content.valueOf(answer);
  }

  /** Removes everything from the data directory. */
  public void clear() throws CommandException {
    String script = "cd \"$1\" && rm -rf -- * .[!.]*";
    Child.Result result =
        runAsUser(List.of("sh", "-c", script, "sh", config.dataDirectory.toString()));
    if (result.exitCode() != 0) {
      throw new CommandException(
          ExitCode.IO_ERROR,
          "cannot remove what an interrupted initdb has left",
          config.dataDirectory,
          result.output().strip());
    }
  }

  /** Major version of the data directory. */
  public int dataMajor() throws CommandException {
    Path file = config.dataDirectory.resolve("PG_VERSION");
    Child.Result result = runAsUser(List.of("cat", file.toString()));
    String version = result.output().strip();
    if (result.exitCode() != 0 || !version.matches("\\d{1,3}")) {
      throw new CommandException(
          ExitCode.POSTGRES_FAILED,
          "cannot read the version of the data directory: %s: %s".formatted(file, version),
          "check that the directory holds a PostgreSQL cluster");
    }
    return Integer.parseInt(version);
  }

  /**
   * Starts the server and returns when it accepts connections. Recovery may take long: the time
   * limit counts only while the server does not say that it is starting. One that has recovered and
   * still refuses everybody, for want of a file for example, does so for ever.
   *
   * @param silence how long the server may be silent, or refuse for another reason
   */
  public void start(Duration silence) throws CommandException, InterruptedException {
    if (postmaster != null) {
      throw new IllegalStateException("already started");
    }
    config.binaries.requireMajor(dataMajor(), config.dataDirectory);
    if (!isFree(config.port)) {
      throw new CommandException(
          ExitCode.PORT_IN_USE,
          "cannot start PostgreSQL",
          "127.0.0.1:" + config.port,
          "another process listens on this port");
    }
    Postmaster started = launch();
    postmaster = started;
    long deadline = System.nanoTime() + silence.toNanos();
    while (true) {
      String state = probe();
      if (state == null || state.startsWith("28")) {
        LOG.info("{} accepts connections", config);
        return;
      }
      if (state.equals("57P03")) {
        deadline = System.nanoTime() + silence.toNanos();
      }
      Integer code = exitWithin(started, POLL);
      if (code != null) {
        postmaster = null;
        throw new CommandException(
            ExitCode.POSTGRES_FAILED,
            "PostgreSQL did not start: %s: exit code %d%n%s"
                .formatted(config.dataDirectory, code, logTail()),
            "see the last lines of its log above, and " + config.startLog);
      }
      if (System.nanoTime() - deadline > 0) {
        stop(Stop.IMMEDIATE, silence);
        throw new CommandException(
            ExitCode.POSTGRES_FAILED,
            "PostgreSQL did not start: %s: no connection within %d s (SQLSTATE %s)%n%s"
                .formatted(config.dataDirectory, silence.toSeconds(), state, logTail()),
            "see the last lines of its log above, and " + config.startLog);
      }
    }
  }

  /**
   * Asks for a connection.
   *
   * @return null if there is one, otherwise the SQLSTATE: class 28 is a refused password, so the
   *     server is up; 57P03 says that it is starting
   */
  private @Nullable String probe() {
    try (Connection connection = connect("postgres")) {
      return null;
    } catch (SQLException e) {
      return e.getSQLState() == null ? "" : e.getSQLState();
    }
  }

  private Postmaster launch() throws CommandException {
    List<String> command =
        new ArrayList<>(
            List.of(
                config.binaries.program("postgres"),
                "-D",
                config.dataDirectory.toString(),
                "-p",
                "" + config.port,
                "-h",
                "127.0.0.1",
                "-k",
                config.socketDirectory.toString()));
    config.settings.forEach((name, value) -> command.addAll(List.of("-c", name + "=" + value)));
    ProcessBuilder builder = Child.builder(config.runAs.commandThatDiesWithUs(command));
    builder.redirectOutput(Redirect.appendTo(createLog().toFile()));
    // the daemon's own protection against the OOM killer is not for backends
    builder.environment().put("PG_OOM_ADJUST_FILE", "/proc/self/oom_score_adj");
    builder.environment().put("PG_OOM_ADJUST_VALUE", "0");

    CompletableFuture<Long> pid = new CompletableFuture<>();
    CompletableFuture<Integer> exit = new CompletableFuture<>();
    Thread.ofPlatform()
        .name("postmaster")
        .daemon()
        .start(
            () -> {
              try {
                Process process = builder.start();
                process.getOutputStream().close();
                pid.complete(process.pid());
                exit.complete(process.waitFor());
              } catch (IOException | InterruptedException e) {
                pid.completeExceptionally(e);
                exit.completeExceptionally(e);
              }
            });
    try {
      return new Postmaster(pid.get(), exit);
    } catch (ExecutionException e) {
      throw new CommandException(
              ExitCode.POSTGRES_FAILED,
              "cannot start PostgreSQL",
              command.getFirst(),
              String.valueOf(e.getCause()))
          .causedBy(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CommandException(
          ExitCode.POSTGRES_FAILED, "cannot start PostgreSQL", config.dataDirectory, "interrupted");
    }
  }

  private Path createLog() throws CommandException {
    try {
      Files.createFile(config.startLog, Modes.with(0640));
    } catch (FileAlreadyExistsException e) {
      // appended to
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot create the PostgreSQL log",
              config.startLog,
              CommandException.reason(e))
          .causedBy(e);
    }
    return config.startLog;
  }

  /** The last lines of the newest log below the data directory, or of the start log. */
  private String logTail() {
    String script = "f=$(ls -t \"$1\"/log/*.log 2>/dev/null | head -n 1); tail -n 12 \"${f:-$2}\"";
    List<String> command =
        List.of(
            "sh", "-c", script, "sh", config.dataDirectory.toString(), config.startLog.toString());
    try {
      String tail = runAsUser(command).output().strip();
      return tail.isEmpty() || tail.startsWith("tail:")
          ? String.join("\n", Files.readAllLines(config.startLog))
          : tail;
    } catch (CommandException | IOException e) {
      return "(its log cannot be read: " + e.getMessage() + ")";
    }
  }

  private Child.Result runAsUser(List<String> command) throws CommandException {
    try {
      return Child.run(config.runAs.command(command));
    } catch (IOException e) {
      throw RunAs.helperMissing(e);
    }
  }

  /** Makes the kernel write what it still has of the file system that holds the data directory. */
  public void sync() throws CommandException {
    Child.Result result =
        runAsUser(List.of("sync", "--file-system", config.dataDirectory.toString()));
    if (result.exitCode() != 0) {
      throw new CommandException(
          ExitCode.IO_ERROR,
          "cannot synchronize the file system",
          config.dataDirectory,
          result.output().strip());
    }
  }

  /** Completes with the postmaster's exit code when it ends, whoever ended it. */
  public CompletableFuture<Integer> exit() {
    Postmaster p = postmaster;
    return p == null ? CompletableFuture.completedFuture(0) : p.exit.copy();
  }

  public boolean isRunning() {
    return postmaster != null && !postmaster.exit.isDone();
  }

  /** Process id of the postmaster; for tests that kill it. */
  public long pid() {
    if (postmaster == null) {
      throw new IllegalStateException("not started");
    }
    return postmaster.pid;
  }

  /**
   * Stops the server and waits until it has ended. A server that is slower than {@code patience} is
   * stopped immediately, then killed; nothing that it has acknowledged is lost.
   */
  public void stop(Stop how, Duration patience) throws InterruptedException {
    Postmaster p = postmaster;
    if (p == null) {
      return;
    }
    signal(p, how.signal);
    if (exitWithin(p, patience) == null) {
      LOG.warn(
          "{} did not stop within {} s, stopping it immediately", config, patience.toSeconds());
      signal(p, Stop.IMMEDIATE.signal);
      if (exitWithin(p, patience) == null) {
        LOG.warn("{} did not stop, killing it", config);
        signal(p, 9);
        exitWithin(p, patience);
      }
    }
    postmaster = null;
    LOG.info("{} has stopped", config);
  }

  private static void signal(Postmaster p, int signal) {
    if (!p.exit.isDone()) {
      Posix.kill((int) p.pid, signal);
    }
  }

  private static @Nullable Integer exitWithin(Postmaster p, Duration time)
      throws InterruptedException {
    try {
      return p.exit.get(time.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return null;
    } catch (ExecutionException e) {
      return -1;
    }
  }

  /** A connection of the superuser over TCP. */
  public Connection connect(String database) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", SUPERUSER);
    properties.setProperty("password", config.password);
    properties.setProperty("connectTimeout", "10");
    properties.setProperty("ApplicationName", "pgveil");
    return DriverManager.getConnection(
        "jdbc:postgresql://127.0.0.1:" + config.port + "/" + database, properties);
  }

  public Config config() {
    return config;
  }

  /** Stops the server fast. */
  @Override
  public void close() throws InterruptedException {
    stop(Stop.FAST, Duration.ofSeconds(60));
  }
}
