package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.postgres.PostgresBinaries;
import io.pgveil.app.postgres.PostgresServer.Stop;
import io.pgveil.tests.support.Clusters;
import io.pgveil.tests.support.StoredCluster;
import io.pgveil.tests.support.TestCluster;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.SQLException;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** A streaming standby on a mount of its own, with keys of its own. */
@Tag("system")
class StandbyTest {
  private static final String DIGEST = "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM rows";

  @RegisterExtension final Clusters clusters = new Clusters();
  @TempDir Path root;
  private TestCluster primary;
  private TestCluster standby;

  /** One that is installed: the embedded PostgreSQL has no pg_basebackup. */
  private static Path installed() {
    Optional<Path> found =
        IntStream.of(18, 17, 16, 15, 14)
            .mapToObj(major -> Path.of("/usr/lib/postgresql/" + major + "/bin"))
            .filter(
                bin ->
                    Files.isExecutable(bin.resolve("pg_basebackup"))
                        && Files.isExecutable(bin.resolve("postgres")))
            .findFirst();
    assumeTrue(found.isPresent(), "no PostgreSQL with pg_basebackup in /usr/lib/postgresql");
    return found.get();
  }

  @Test
  @Timeout(value = 4, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void isMadeStreamsCrashesAndIsPromoted() throws Exception {
    PostgresBinaries binaries = PostgresBinaries.in(installed());
    primary = clusters.running(root.resolve("primary"), binaries, 128);
    primary.execute(
        "CREATE TABLE rows (id int PRIMARY KEY, v text NOT NULL)",
        "INSERT INTO rows SELECT g, md5(g::text) FROM generate_series(1, 20000) g",
        "CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS id",
        // after the next start a commit means that the standby shows it
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
        "ALTER SYSTEM SET wal_retrieve_retry_interval = '100ms'");
    primary.restart();
    standby = clusters.mounted(root.resolve("standby"), binaries, 256);
    baseBackup();
    standby.start();
    streams();
    standbyCrash();
    primaryRestart();
    promotion();

    for (TestCluster cluster : List.of(primary, standby)) {
      cluster.stop(Stop.FAST);
      SortedMap<String, String> shown = cluster.digests();
      cluster.unmount();
      StoredCluster.Contents contents = cluster.stored().check(shown);
      System.out.printf("%s: %s%n", cluster.cipher().getParent().getFileName(), contents);
      assertThat(contents.encryptedPages()).isGreaterThan(2000);
      assertThat(contents.walPages()).isGreaterThan(100);
      cluster.verify();
    }
  }

  /** Through both mounts: what lies between is clear, what is stored has other keys. */
  private void baseBackup() throws Exception {
    Path passwords = root.resolve("standby").resolve("pgpass");
    Files.writeString(passwords, "*:*:*:*:" + primary.server().config().password() + "\n");
    Files.setPosixFilePermissions(passwords, PosixFilePermissions.fromString("rw-------"));
    primary.runAs().own(passwords);
    List<String> command =
        primary
            .runAs()
            .command(
                List.of(
                    installed().resolve("pg_basebackup").toString(),
                    "--dbname=host=127.0.0.1 port=%d user=postgres passfile=%s"
                        .formatted(primary.server().config().port(), passwords),
                    "--pgdata=" + standby.mountPoint(),
                    "--write-recovery-conf",
                    "--wal-method=stream",
                    "--checkpoint=fast"));
    Process process =
        new ProcessBuilder(command).directory(root.toFile()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    standby.takePasswordOf(primary);
  }

  private void streams() throws SQLException {
    primary.execute(
        "INSERT INTO rows SELECT -g, md5(g::text) FROM generate_series(1, 20000) g",
        "VACUUM FULL rows",
        "CREATE DATABASE copy",
        "CREATE TABLE streamed AS SELECT generate_series(1, 100) AS id");
    assertThat(standby.query("SELECT pg_is_in_recovery()")).isEqualTo("t");
    same();
    assertThat(standby.query("SELECT count(*) FROM streamed")).isEqualTo("100");
  }

  private void same() throws SQLException {
    assertThat(standby.query(DIGEST)).isEqualTo(primary.query(DIGEST));
  }

  /** kill -9 of the standby's daemon; its server cannot go on. What it missed comes later. */
  private void standbyCrash() throws Exception {
    primary.execute("INSERT INTO rows SELECT 20000 + g, 'crash' FROM generate_series(1, 500) g");
    CompletableFuture<Integer> ended = standby.server().exit();
    standby.killDaemon();
    // waits until the standby has it: that is, until it runs again
    CompletableFuture<Void> commit =
        CompletableFuture.runAsync(
            () -> {
              try {
                primary.execute(
                    "INSERT INTO rows SELECT 30000 + g, 'x' FROM generate_series(1, 500) g");
              } catch (SQLException e) {
                throw new IllegalStateException(e);
              }
            });
    ended.get(1, TimeUnit.MINUTES);
    standby.stop(Stop.IMMEDIATE);
    standby.mount();
    standby.start();
    commit.get(1, TimeUnit.MINUTES);
    same();
    assertThat(standby.query("SELECT count(*) FROM rows WHERE id > 20000")).isEqualTo("1000");
  }

  /** The standby receives the last segment anew, from its beginning. */
  private void primaryRestart() throws Exception {
    primary.stop(Stop.IMMEDIATE);
    primary.start();
    primary.execute("INSERT INTO rows SELECT 40000 + g, 'y' FROM generate_series(1, 500) g");
    same();
  }

  private void promotion() throws Exception {
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()");
    assertThat(standby.query("SELECT pg_promote()")).isEqualTo("t");
    standby.execute(
        "ALTER SYSTEM RESET synchronous_standby_names",
        "ALTER SYSTEM RESET synchronous_commit",
        "SELECT pg_reload_conf()",
        "INSERT INTO rows SELECT 50000 + g, 'z' FROM generate_series(1, 20000) g",
        "INSERT INTO unlogged VALUES (7)",
        "SELECT pg_switch_wal()",
        "CREATE TABLE promoted AS SELECT generate_series(1, 100) AS id",
        "CHECKPOINT");
    assertThat(standby.query("SELECT timeline_id FROM pg_control_checkpoint()")).isEqualTo("2");
    assertThat(standby.query("SELECT string_agg(id::text, ',') FROM unlogged")).isEqualTo("7");
    standby.restart();
    assertThat(standby.query("SELECT count(*) FROM rows")).isEqualTo("61500");
    assertThat(standby.query("SELECT count(*) FROM promoted")).isEqualTo("100");
  }
}
