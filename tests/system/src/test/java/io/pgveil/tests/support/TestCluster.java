package io.pgveil.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.postgres.Modes;
import io.pgveil.app.postgres.PostgresBinaries;
import io.pgveil.app.postgres.PostgresServer;
import io.pgveil.app.postgres.RunAs;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One encrypted cluster in a directory: the daemon is the program itself in a JVM of its own, and
 * PostgreSQL a child of this JVM, so that each of them can be killed.
 *
 * <pre>
 *   cipher/  mount/  run/ (the server's socket)  keyring  pgveil.log  postgresql.log
 * </pre>
 */
public final class TestCluster {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private final Path root;
  private final PostgresBinaries binaries;
  private final int keyBits;
  private final RunAs runAs;
  private final Map<String, String> settings = new LinkedHashMap<>();
  private String password = "a password";
  private @Nullable MemoryGroup memory;
  private @Nullable Process daemon;
  private @Nullable PostgresServer server;

  TestCluster(Path root, PostgresBinaries binaries, int keyBits) throws CommandException {
    this.root = root;
    this.binaries = binaries;
    this.keyBits = keyBits;
    this.runAs = RunAs.resolve(null);
    // small, so that pages are written and read all the time
    settings.put("shared_buffers", "8MB");
    settings.put("max_connections", "20");
    // nothing is removed: there is more to read at the end
    settings.put("wal_keep_size", "1GB");
  }

  public Path cipher() {
    return root.resolve("cipher");
  }

  public Path mountPoint() {
    return root.resolve("mount");
  }

  public Path keyring() {
    return root.resolve("keyring");
  }

  public Path daemonLog() {
    return root.resolve("pgveil.log");
  }

  public PostgresBinaries binaries() {
    return binaries;
  }

  public RunAs runAs() {
    return runAs;
  }

  public Path serverLog() {
    return root.resolve("postgresql.log");
  }

  /** A setting of the server, before its first start. */
  public TestCluster with(String name, String value) {
    settings.put(name, value);
    return this;
  }

  public PostgresServer server() {
    if (server == null) {
      throw new IllegalStateException("no server");
    }
    return server;
  }

  void create() throws IOException, InterruptedException {
    makeReachable();
    Files.createDirectory(mountPoint());
    Files.createDirectory(root.resolve("run"));
    runAs.own(root.resolve("run"));
    Pgveil.succeed(
        "init",
        cipher(),
        "--keyring",
        keyring(),
        "--cipher",
        "aes_" + keyBits,
        "--owner",
        runAs.name());
  }

  /** Temporary directories are made for one user; the server runs as another one. */
  private void makeReachable() throws IOException {
    Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
    Files.createDirectories(root);
    for (Path p = root; p.startsWith(temporary) && !p.equals(temporary); p = p.getParent()) {
      Files.setPosixFilePermissions(p, Modes.of(0711));
    }
  }

  // ---- the daemon ----

  /** Later daemons live in this group. */
  public TestCluster within(MemoryGroup group) {
    memory = group;
    return this;
  }

  /**
   * Starts the daemon and waits until it serves.
   *
   * @return what it has printed until then
   */
  public String mount() throws IOException, InterruptedException {
    ProcessBuilder builder =
        Pgveil.builder("mount", cipher(), mountPoint(), "--log-file", daemonLog());
    if (memory != null) {
      builder.command(memory.command(builder.command()));
    }
    Process process = builder.start();
    daemon = process;
    process.getOutputStream().close();
    CompletableFuture<String> ready = new CompletableFuture<>();
    Thread.ofPlatform().name("output of the daemon").daemon().start(() -> watch(process, ready));
    try {
      return ready.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException e) {
      throw new AssertionError("not mounted: " + e.getMessage(), e);
    }
  }

  /** Reads to the end, or the daemon would wait for a reader. */
  private static void watch(Process process, CompletableFuture<String> ready) {
    StringBuilder output = new StringBuilder();
    try (BufferedReader lines = process.inputReader()) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        output.append(line).append('\n');
        if (line.startsWith("pgveil: mounted ")) {
          ready.complete(output.toString());
        }
      }
    } catch (IOException e) {
      output.append(e);
    }
    ready.completeExceptionally(new IllegalStateException(output.toString()));
  }

  /** Unmounts as systemd does, by SIGTERM; the daemon must end well. */
  public void unmount() throws InterruptedException {
    Process process = requireDaemon();
    process.destroy();
    assertThat(process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).isZero();
    assertThat(isMounted()).isFalse();
    daemon = null;
  }

  /** kill -9 of the daemon alone: the server loses its files. */
  public void killDaemon() throws InterruptedException {
    requireDaemon().destroyForcibly().waitFor();
    daemon = null;
  }

  /** kill -9 of the daemon and of every process of the server, one right after the other. */
  public void killEverything() throws InterruptedException {
    List<ProcessHandle> processes = new ArrayList<>();
    ProcessHandle postmaster = ProcessHandle.of(server().pid()).orElseThrow();
    processes.add(requireDaemon().toHandle());
    processes.add(postmaster);
    processes.addAll(postmaster.descendants().toList());
    processes.forEach(ProcessHandle::destroyForcibly);
    requireDaemon().waitFor();
    daemon = null;
    for (ProcessHandle process : processes) {
      process.onExit().join();
    }
    server().stop(PostgresServer.Stop.IMMEDIATE, PATIENCE);
  }

  private Process requireDaemon() {
    if (daemon == null) {
      throw new IllegalStateException("no daemon");
    }
    return daemon;
  }

  private boolean isMounted() {
    try {
      return Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
          .anyMatch(line -> line.contains(" " + mountPoint() + " "));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  // ---- the server ----

  /** initdb through the mount. */
  public void initdb(String... options) throws IOException, CommandException {
    Path file = root.resolve("initdb-password");
    Files.writeString(file, password + "\n");
    runAs.own(file);
    PostgresServer.initdb(binaries, runAs, mountPoint(), file, List.of(options));
    Files.delete(file);
  }

  /** Starts the server; also after a crash. */
  public void start() throws CommandException, IOException, InterruptedException {
    if (server == null) {
      server =
          new PostgresServer(
              new PostgresServer.Config(
                  binaries,
                  runAs,
                  mountPoint(),
                  root.resolve("run"),
                  serverLog(),
                  PostgresServer.anyFreePort(),
                  password,
                  settings));
    }
    server.start(PATIENCE);
  }

  public void stop(PostgresServer.Stop how) throws InterruptedException {
    server().stop(how, PATIENCE);
  }

  public void restart() throws CommandException, IOException, InterruptedException {
    stop(PostgresServer.Stop.FAST);
    start();
  }

  /** Waits until a server that has lost a backend accepts connections again. */
  public void awaitReinitialised() throws Exception {
    await(
        "the server accepts connections",
        () -> {
          try (Connection c = server().connect("postgres")) {
            return true;
          } catch (SQLException e) {
            return false;
          }
        });
  }

  /** Asks again and again, but not for ever. */
  public static void await(String what, Callable<Boolean> condition) throws Exception {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.call()) {
      if (System.nanoTime() - end > 0) {
        throw new AssertionError("did not happen within " + PATIENCE + ": " + what);
      }
      LockSupport.parkNanos(20_000_000);
    }
  }

  public Connection connect(String database) throws SQLException {
    return server().connect(database);
  }

  /** Runs statements in the database {@code postgres}, each in a transaction of its own. */
  public void execute(String... statements) throws SQLException {
    try (Connection c = connect("postgres")) {
      execute(c, statements);
    }
  }

  public static void execute(Connection c, String... statements) throws SQLException {
    try (Statement s = c.createStatement()) {
      for (String statement : statements) {
        s.execute(statement);
      }
    }
  }

  /** The first column of the first row. */
  public String query(String sql) throws SQLException {
    try (Connection c = connect("postgres")) {
      return query(c, sql);
    }
  }

  public static String query(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement();
        ResultSet r = s.executeQuery(sql)) {
      assertThat(r.next()).as(sql).isTrue();
      return String.valueOf(r.getString(1));
    }
  }

  /** The first column of all rows. */
  public static List<String> list(Connection c, String sql) throws SQLException {
    List<String> rows = new ArrayList<>();
    try (Statement s = c.createStatement();
        ResultSet r = s.executeQuery(sql)) {
      while (r.next()) {
        rows.add(r.getString(1));
      }
    }
    return rows;
  }

  /** Makes the kernel give the daemon all that was written to the mount. */
  public void sync() throws CommandException {
    server().sync();
  }

  // ---- what is stored ----

  /**
   * SHA-256 of every file as the mount shows it, by the path in the mount. For a stopped server.
   */
  public SortedMap<String, String> digests() throws IOException {
    SortedMap<String, String> digests = new TreeMap<>();
    byte[] buffer = new byte[1 << 20];
    try (Stream<Path> tree = Files.walk(mountPoint())) {
      for (Path file : tree.filter(Files::isRegularFile).toList()) {
        MessageDigest sha256 = sha256();
        try (InputStream in = Files.newInputStream(file)) {
          for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
            sha256.update(buffer, 0, n);
          }
        }
        digests.put(
            mountPoint().relativize(file).toString(), HexFormat.of().formatHex(sha256.digest()));
      }
    }
    return digests;
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The cipher directory as the independent reader sees it. */
  public StoredCluster stored() throws IOException {
    return new StoredCluster(cipher());
  }

  /** The program's own check of a cluster that is stopped and not mounted finds nothing. */
  public void verify() throws IOException, InterruptedException {
    Pgveil.succeed("verify", "--dir", cipher());
  }

  /** Lines of the daemon's log. */
  public List<String> logLines(Predicate<String> wanted) throws IOException {
    return Files.readAllLines(daemonLog(), StandardCharsets.ISO_8859_1).stream()
        .filter(wanted)
        .toList();
  }

  /** As {@code other}: a copy has the passwords of its original. */
  public void takePasswordOf(TestCluster other) {
    password = other.password;
  }

  // ---- the end ----

  String logs() {
    return Pgveil.tail(daemonLog()) + "\n" + Pgveil.tail(serverLog());
  }

  /**
   * Ends and unmounts whatever there still is.
   *
   * @return what was left
   */
  List<String> discard() throws IOException, InterruptedException {
    List<String> left = new ArrayList<>();
    PostgresServer s = server;
    if (s != null && s.isRunning()) {
      left.add("the server on " + mountPoint());
      ProcessHandle postmaster = ProcessHandle.of(s.pid()).orElse(null);
      List<ProcessHandle> processes = new ArrayList<>();
      if (postmaster != null) {
        processes.addAll(postmaster.descendants().toList());
        processes.add(postmaster);
      }
      s.stop(PostgresServer.Stop.IMMEDIATE, Duration.ofSeconds(5));
      processes.forEach(ProcessHandle::destroyForcibly);
    }
    if (daemon != null && daemon.isAlive()) {
      left.add("the daemon of " + cipher());
      daemon.destroyForcibly().waitFor();
    }
    if (isMounted()) {
      left.add("the mount on " + mountPoint());
      List<String> command =
          runAs.change()
              ? List.of("umount", "-l", mountPoint().toString())
              : List.of("fusermount3", "-uz", mountPoint().toString());
      new ProcessBuilder(command).inheritIO().start().waitFor();
    }
    return left;
  }
}
