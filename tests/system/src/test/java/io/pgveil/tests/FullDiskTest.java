package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.postgres.PostgresServer;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import io.pgveil.tests.support.Clusters;
import io.pgveil.tests.support.DaemonHere;
import io.pgveil.tests.support.FaultyBacking;
import io.pgveil.tests.support.FaultyBacking.Call;
import io.pgveil.tests.support.Postgres;
import io.pgveil.tests.support.TestCluster;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A server whose disk is full, has no quota left or fails. What was committed is there when there
 * is room again; a sync that failed is never followed by one that succeeds.
 */
@Tag("system")
class FullDiskTest {
  private static final int ROWS = 500;

  @RegisterExtension final Clusters clusters = new Clusters();
  @TempDir Path temporary;

  /** Rows in batches, each a transaction. */
  private static final String TABLE = "CREATE TABLE t (b int, i int, filler text)";

  private static void insert(Connection c, int batch) throws SQLException {
    TestCluster.execute(
        c,
        "INSERT INTO t SELECT %d, i, repeat(md5(i::text), 20) FROM generate_series(1, %d) AS i"
            .formatted(batch, ROWS));
  }

  /** Inserts until it is refused; returns how many batches were acknowledged. */
  private static int fill(TestCluster cluster) {
    int acknowledged = 0;
    try (Connection c = cluster.connect("postgres")) {
      while (acknowledged < 2000) {
        insert(c, acknowledged);
        acknowledged++;
      }
    } catch (SQLException e) {
      return acknowledged;
    }
    throw new AssertionError("2000 batches found room");
  }

  /** Waits for the server to come back, and starts it if it gave up. */
  private static void comeBack(TestCluster cluster) throws Exception {
    TestCluster.await(
        "the server accepts connections",
        () -> {
          if (!cluster.server().isRunning()) {
            cluster.stop(PostgresServer.Stop.IMMEDIATE);
            cluster.start();
          }
          try (Connection c = cluster.connect("postgres")) {
            return true;
          } catch (SQLException e) {
            return false;
          }
        });
  }

  private static void hasAll(TestCluster cluster, int acknowledged) throws SQLException {
    assertThat(cluster.query("SELECT count(DISTINCT b) FROM t WHERE b < " + acknowledged))
        .as("batches that were acknowledged")
        .isEqualTo("" + acknowledged);
    assertThat(
            cluster.query(
                "SELECT count(*) FROM (SELECT b FROM t WHERE filler = repeat(md5(i::text), 20)"
                    + " GROUP BY b HAVING count(*) <> %d) AS incomplete".formatted(ROWS)))
        .isEqualTo("0");
  }

  /** Not only in the kernel's cache of the mount. */
  private static void isOnDisk(TestCluster cluster, int acknowledged) throws Exception {
    cluster.execute("CHECKPOINT");
    cluster.stop(PostgresServer.Stop.FAST);
    cluster.unmount();
    cluster.mount();
    cluster.start();
    hasAll(cluster, acknowledged);
    cluster.stop(PostgresServer.Stop.FAST);
    cluster.unmount();
    cluster.verify();
  }

  private static String log(TestCluster cluster) throws IOException {
    return Files.readString(cluster.serverLog(), StandardCharsets.ISO_8859_1);
  }

  private static void run(String... command) throws Exception {
    Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(p.waitFor()).as(output).isZero();
  }

  /** Little WAL, so that data fill the disk. */
  private static TestCluster small(TestCluster cluster) {
    return cluster
        .with("wal_keep_size", "0")
        .with("max_wal_size", "8MB")
        .with("min_wal_size", "2MB")
        .with("autovacuum", "off");
  }

  /**
   * 14 to 16 write the pages by which a file grows, and the kernel takes them; 17 asks for room
   * first. Not seen failing: a page write that takes ENOSPC for success is not seen, for WAL finds
   * no room either and is replayed; {@code DiskHazardTest} sees it.
   */
  @ParameterizedTest
  @ValueSource(ints = {15, 17})
  void hazard11AFullDiskTakesNoCommittedRow(int major) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: a small file system is mounted");
    Path root = temporary.resolve("cluster");
    Path disk = Files.createDirectories(root.resolve("cipher"));
    run("mount", "-t", "tmpfs", "-o", "size=100m,mode=700", "pgveil-test", disk.toString());
    try {
      TestCluster cluster = small(clusters.mounted(root, Postgres.major(major), 128));
      cluster.initdb("--wal-segsize=1");
      cluster.start();
      cluster.execute(TABLE);

      int acknowledged = fill(cluster);
      try {
        cluster.execute("CHECKPOINT");
      } catch (SQLException e) {
        // it cannot write either
      }
      TestCluster.await(
          "PostgreSQL says why", () -> log(cluster).contains("No space left on device"));
      assertThat(acknowledged).isGreaterThan(20);

      run("mount", "-o", "remount,size=200m", disk.toString());
      comeBack(cluster);
      hasAll(cluster, acknowledged);
      cluster.execute("DELETE FROM t WHERE b >= " + acknowledged);
      try (Connection c = cluster.connect("postgres")) {
        for (int more = 0; more < 20; more++) {
          insert(c, acknowledged + more);
        }
      }
      isOnDisk(cluster, acknowledged + 20);
    } finally {
      run("umount", "-l", disk.toString());
    }
  }

  /** Not seen failing: as with the full disk. */
  @Test
  void hazard11AQuotaThatIsUsedUpTakesNoCommittedRow() throws Exception {
    TestCluster cluster = small(clusters.mounted(temporary, Postgres.major(17), 128));
    cluster.unmount();
    FaultyBacking disk = new FaultyBacking();
    try (DaemonHere daemon = new DaemonHere(cluster, disk)) {
      cluster.initdb("--wal-segsize=1");
      cluster.start();
      cluster.execute(TABLE, "CHECKPOINT");
      try (Connection c = cluster.connect("postgres")) {
        for (int batch = 0; batch < 20; batch++) {
          insert(c, batch);
        }
        disk.refuse(Errno.EDQUOT, (call, path) -> call != Call.SYNC && path.startsWith("base/"));
        // in the kernel's cache: nobody is told before it is written back
        insert(c, 20);
      } catch (SQLException e) {
        assertThat(e.getMessage()).contains("Disk quota exceeded");
      }
      assertThatThrownBy(() -> cluster.execute("CHECKPOINT")).isInstanceOf(SQLException.class);
      TestCluster.await("PostgreSQL says why", () -> log(cluster).contains("Disk quota exceeded"));
      assertThat(disk.refused()).isPositive();

      disk.work();
      comeBack(cluster);
      hasAll(cluster, 20);
      cluster.execute("CHECKPOINT");
      cluster.stop(PostgresServer.Stop.FAST);
    }
    cluster.mount();
    cluster.start();
    hasAll(cluster, 20);
    isOnDisk(cluster, 20);
  }

  /**
   * What was told once stays told: only a new daemon reads from the disk what is there. Seen
   * failing: the error that OpenFile.sync keeps; the server comes back at once.
   */
  @ParameterizedTest
  @ValueSource(strings = {"SYNC", "WRITE"})
  void hazard11AFailingDeviceIsNeverForgiven(Call fails) throws Exception {
    TestCluster cluster = small(clusters.mounted(temporary, Postgres.major(17), 128));
    cluster.unmount();
    FaultyBacking disk = new FaultyBacking();
    try (DaemonHere daemon = new DaemonHere(cluster, disk)) {
      cluster.initdb("--wal-segsize=1");
      cluster.start();
      cluster.execute(TABLE, "CHECKPOINT");
      try (Connection c = cluster.connect("postgres")) {
        for (int batch = 0; batch < 10; batch++) {
          insert(c, batch);
        }
      }
      disk.refuse(Errno.EIO, (call, path) -> call == fails && path.startsWith("base/"));
      assertThatThrownBy(() -> cluster.execute("CHECKPOINT")).isInstanceOf(SQLException.class);
      assertThat(disk.refused()).isPositive();
      disk.work();
      // the first from the checkpoint, the second from that at the end of recovery
      TestCluster.await(
          "the server meets the error again after its restart",
          () -> log(cluster).split("PANIC:  could not fsync file", -1).length > 2);
      cluster.stop(PostgresServer.Stop.IMMEDIATE);
    }
    cluster.mount();
    cluster.start();
    hasAll(cluster, 10);
    isOnDisk(cluster, 10);
  }
}
