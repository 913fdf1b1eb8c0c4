package io.pgveil.app;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.cluster.Layout;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.Modes;
import io.pgveil.app.storage.Storage;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.event.Level;

/** {@code up} and {@code demo} over a bind mount: everything but the encryption. */
class LocalClusterTest {
  @TempDir Path root;

  @BeforeAll
  static void needs() {
    assumeTrue(Posix.geteuid() == 0, "bind mounts need root");
    assumeTrue(
        EmbeddedPostgres.find(Path.of("target/lib-postgres"), null).isPresent(),
        "the jar of embedded PostgreSQL is not in target/lib-postgres");
    assumeTrue(Posix.umount("/nonexistent", 0) != -Errno.EPERM, "mounting is not permitted here");
  }

  @BeforeEach
  void reachable() throws Exception {
    Files.setPosixFilePermissions(root, Modes.of(0755));
  }

  private LocalCluster start() throws Exception {
    return LocalCluster.start(
        new BindStorage(),
        new LocalCluster.Options(
            root.resolve("up"),
            null,
            null,
            null,
            null,
            Storage.FirstProvider.keyring(root.resolve("up/keyring/keyring.file")),
            null,
            128,
            Storage.Serving.DEFAULT,
            null,
            Level.INFO,
            false,
            Map.of()),
        step -> {});
  }

  @Test
  void theSecondUseStartsWhatTheFirstHasMade() throws Exception {
    LocalCluster first = start();
    Layout layout = first.layout();
    String connection = first.connectionString();
    try {
      execute(first, "CREATE TABLE t AS SELECT 7 AS a");
      assertThat(
              PosixFilePermissions.toString(Files.getPosixFilePermissions(layout.passwordFile())))
          .isEqualTo("rw-------");
      assertThat(layout.root().resolve("initdb-password")).doesNotExist();
      assertThatThrownBy(this::start)
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> assertThat(e.exitCode()).isEqualTo(ExitCode.ALREADY_SERVED));
    } finally {
      first.stop();
    }
    nothingIsLeft(layout);

    LocalCluster second = start();
    try {
      assertThat(second.connectionString()).isEqualTo(connection);
      assertThat(execute(second, "SELECT a FROM t")).isEqualTo("7");
    } finally {
      second.stop();
    }
    nothingIsLeft(layout);
  }

  /** What a lost up.json does is also what a first use does that ends just before it is written. */
  @Test
  void lostSettingsAreMadeAnewFromTheCluster() throws Exception {
    LocalCluster first = start();
    Layout layout = first.layout();
    execute(first, "CREATE TABLE t AS SELECT 7 AS a");
    first.stop();
    String settings = Files.readString(layout.settings());
    assertThat(layout.firstUse()).doesNotExist();

    for (String lost : new String[] {null, ""}) {
      Files.delete(layout.settings());
      if (lost != null) {
        Files.writeString(layout.settings(), lost);
      }
      LocalCluster again = start();
      try {
        assertThat(execute(again, "SELECT a FROM t")).isEqualTo("7");
      } finally {
        again.stop();
      }
      assertThat(Files.readString(layout.settings()))
          .startsWith(settings.substring(0, settings.indexOf("port")));
    }
  }

  @Test
  void anInterruptedFirstUseStartsOver() throws Exception {
    LocalCluster first = start();
    Layout layout = first.layout();
    first.stop();
    Path clear = layout.cipher().resolve("clear");
    Files.delete(layout.settings());
    Files.delete(clear.resolve("global/pg_control"));

    // not known to be an interrupted first use: whatever it is, it stays
    assertThatThrownBy(this::start)
        .isInstanceOfSatisfying(
            CommandException.class,
            e -> {
              assertThat(e.exitCode()).isEqualTo(ExitCode.CIPHER_DIR_NOT_EMPTY);
              assertThat(e).hasMessageContaining(layout.cipher().toString());
              assertThat(e.remedy()).contains(layout.cipher().toString());
            });
    nothingIsLeft(layout);
    assertThat(clear.resolve("PG_VERSION")).exists();

    try (FirstUse use = FirstUse.lock(layout)) {
      use.begin();
    }
    LocalCluster again = start();
    try {
      assertThat(execute(again, "SELECT 1")).isEqualTo("1");
      assertThat(layout.firstUse()).doesNotExist();
    } finally {
      again.stop();
    }
    nothingIsLeft(layout);
  }

  @Test
  void whoHasServedTheClusterOtherwiseKeepsIt() throws Exception {
    Layout layout = new Layout(root.resolve("up"));
    Files.createDirectories(layout.cipher());
    try (FirstUse use = FirstUse.lock(layout)) {
      use.begin();
      assertThat(use.wasInterrupted()).isTrue();
      assertThatThrownBy(() -> FirstUse.lock(layout))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> assertThat(e.exitCode()).isEqualTo(ExitCode.ALREADY_SERVED));
      Path server = Files.createFile(layout.cipher().resolve("postmaster.opts"));
      assertThat(use.wasInterrupted()).isFalse();
      Files.delete(server);
      FirstUse.forget(layout.root().resolve("other"));
      assertThat(use.wasInterrupted()).isTrue();
      FirstUse.forget(layout.cipher());
      assertThat(layout.firstUse()).doesNotExist();
      Files.writeString(layout.firstUse(), "a file of the user");
      assertThat(use.wasInterrupted()).isFalse();
      FirstUse.forget(layout.cipher());
      assertThat(layout.firstUse()).hasContent("a file of the user");
    }
  }

  private static void nothingIsLeft(Layout layout) throws Exception {
    assertThat(Files.readString(Path.of("/proc/self/mountinfo")))
        .doesNotContain(layout.mount().toString());
    assertThat(ClusterLock.holder(layout.cipher())).isEmpty();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(layout.mount())))
        .isEqualTo("---------");
    assertThat(ProcessHandle.current().children().filter(ProcessHandle::isAlive)).isEmpty();
  }

  @Test
  void theDemoSeesThatAStorageDoesNotEncrypt() throws Exception {
    PostgresOptions postgres = new PostgresOptions();
    List<Demo.Check> checks =
        new Demo(new BindStorage(), root, postgres, 128, false, step -> {}, () -> false).run();
    assertThat(checks)
        .filteredOn(c -> !c.passed())
        .extracting(Demo.Check::name)
        .containsExactly(
            "no needle in the cipher directory", "a restart gives WAL a new internal key");
    assertThat(checks).hasSize(8);
    nothingIsLeft(new Layout(root.resolve("pgveil")));
  }

  private static String execute(LocalCluster cluster, String sql) throws Exception {
    try (Connection c = cluster.server().connect("postgres");
        Statement s = c.createStatement()) {
      if (!s.execute(sql)) {
        return "";
      }
      try (ResultSet r = s.getResultSet()) {
        r.next();
        return r.getString(1);
      }
    }
  }
}
