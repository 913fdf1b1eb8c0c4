package io.pgveil.app.postgres;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The embedded server on a plain directory: unpacking, initdb, the life of the postmaster. */
class PostgresServerTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  @TempDir static Path root;

  static PostgresBinaries binaries;
  static RunAs runAs;
  static PostgresServer server;

  @BeforeAll
  static void initdb() throws Exception {
    Optional<Path> jar = EmbeddedPostgres.find(Path.of("target/lib-postgres"), null);
    assumeTrue(jar.isPresent(), "the jar of embedded PostgreSQL is not in target/lib-postgres");
    runAs = RunAs.resolve(null);
    Files.setPosixFilePermissions(root, Modes.of(0755));
    binaries = EmbeddedPostgres.install(jar.get(), root.resolve("cache"));
    ownDirectory("s");
    Path data = ownDirectory("data");
    Path passwordFile = Files.writeString(root.resolve("password"), "secret\n");
    runAs.own(passwordFile);
    PostgresServer.initdb(binaries, runAs, data, passwordFile, List.of("--no-sync"));
    server = new PostgresServer(config(data, PostgresServer.anyFreePort(), "secret"));
  }

  private static Path ownDirectory(String name) throws IOException {
    Path directory = Files.createDirectory(root.resolve(name), Modes.with(0700));
    runAs.own(directory);
    return directory;
  }

  private static PostgresServer.Config config(Path data, int port, String password) {
    return new PostgresServer.Config(
        binaries,
        runAs,
        data,
        root.resolve("s"),
        root.resolve("start.log"),
        port,
        password,
        Map.of("fsync", "off", "logging_collector", "on"));
  }

  @AfterAll
  static void stop() throws InterruptedException {
    if (server != null) {
      server.close();
    }
  }

  @Test
  void unpackingLeavesNoTemporaryDirectoryAndIsDoneOnce() throws Exception {
    Path cache = root.resolve("cache");
    try (var files = Files.list(cache)) {
      assertThat(files.map(f -> f.getFileName().toString())).containsExactly(binaries.version());
    }
    Path marker = Files.createFile(binaries.directory().resolve("marker"));
    Path jar = EmbeddedPostgres.find(Path.of("target/lib-postgres"), null).orElseThrow();
    assertThat(EmbeddedPostgres.install(jar, cache)).isEqualTo(binaries);
    assertThat(marker).exists();
  }

  @Test
  void startsStopsRecoversAndNeedsThePassword() throws Exception {
    assertThat(server.dataMajor()).isEqualTo(binaries.major());
    server.start(PATIENCE);
    assertThat(value("SHOW data_checksums")).isEqualTo("on");
    assertThat(value("SHOW server_encoding")).isEqualTo("UTF8");
    execute("CREATE TABLE t AS SELECT 42 AS a");

    PostgresServer stranger =
        new PostgresServer(
            config(server.config().dataDirectory(), server.config().port(), "wrong"));
    assertThatThrownBy(() -> stranger.connect("postgres"))
        .isInstanceOfSatisfying(
            SQLException.class, e -> assertThat(e.getSQLState()).startsWith("28"));
    assertThatThrownBy(() -> stranger.start(PATIENCE))
        .isInstanceOfSatisfying(
            CommandException.class, e -> assertThat(e.exitCode()).isEqualTo(ExitCode.PORT_IN_USE));

    server.stop(PostgresServer.Stop.IMMEDIATE, PATIENCE);
    assertThat(server.isRunning()).isFalse();
    server.start(PATIENCE);
    assertThat(value("SELECT a FROM t")).isEqualTo("42");

    var exit = server.exit();
    Posix.kill((int) server.pid(), 3);
    exit.get(60, TimeUnit.SECONDS);
    assertThat(server.isRunning()).isFalse();
    server.close();
  }

  @Test
  void aServerThatCannotStartShowsTheLastLinesOfItsLog() throws Exception {
    Path data = ownDirectory("broken");
    runAs.own(Files.writeString(data.resolve("PG_VERSION"), binaries.major() + "\n"));
    runAs.own(Files.writeString(data.resolve("postgresql.conf"), "no_such_parameter = 1\n"));
    PostgresServer broken = new PostgresServer(config(data, PostgresServer.anyFreePort(), ""));
    assertThatThrownBy(() -> broken.start(PATIENCE))
        .isInstanceOfSatisfying(
            CommandException.class,
            e -> {
              assertThat(e.exitCode()).isEqualTo(ExitCode.POSTGRES_FAILED);
              assertThat(e).hasMessageContaining("no_such_parameter");
            });
  }

  /** It says that it is starting, then refuses for another reason, and lives: that hung. */
  @Test
  void aServerThatRefusesEverybodyForGoodIsGivenUp() throws Exception {
    Path data = ownDirectory("refusing");
    PostgresServer.initdb(binaries, runAs, data, root.resolve("password"), List.of("--no-sync"));
    PostgresServer refusing =
        new PostgresServer(config(data, PostgresServer.anyFreePort(), "secret"));
    refusing.start(PATIENCE);
    refusing.stop(PostgresServer.Stop.IMMEDIATE, PATIENCE);
    try (var databases = Files.list(data.resolve("base"))) {
      for (Path database : databases.toList()) {
        Files.delete(database.resolve("PG_VERSION"));
      }
    }
    assertThatThrownBy(() -> refusing.start(Duration.ofSeconds(5)))
        .isInstanceOfSatisfying(
            CommandException.class,
            e -> assertThat(e.exitCode()).isEqualTo(ExitCode.POSTGRES_FAILED));
    assertThat(refusing.isRunning()).isFalse();
  }

  @Test
  void anotherMajorVersionIsRefusedBeforeAnythingIsStarted() throws Exception {
    Path data = ownDirectory("old");
    runAs.own(Files.writeString(data.resolve("PG_VERSION"), "9\n"));
    PostgresServer old = new PostgresServer(config(data, PostgresServer.anyFreePort(), ""));
    assertThatThrownBy(() -> old.start(PATIENCE))
        .isInstanceOfSatisfying(
            CommandException.class,
            e -> assertThat(e.exitCode()).isEqualTo(ExitCode.POSTGRES_MISMATCH));
  }

  @Test
  void missingBinariesAreNamed(@TempDir Path empty) {
    assertThatThrownBy(() -> PostgresBinaries.in(empty))
        .isInstanceOfSatisfying(
            CommandException.class,
            e -> {
              assertThat(e.exitCode()).isEqualTo(ExitCode.POSTGRES_MISSING);
              assertThat(e).hasMessageContaining(empty.resolve("initdb").toString());
            });
  }

  private static String value(String sql) throws SQLException {
    try (Connection c = server.connect("postgres");
        Statement s = c.createStatement();
        ResultSet r = s.executeQuery(sql)) {
      r.next();
      return r.getString(1);
    }
  }

  private static void execute(String sql) throws SQLException {
    try (Connection c = server.connect("postgres");
        Statement s = c.createStatement()) {
      s.execute(sql);
    }
  }
}
