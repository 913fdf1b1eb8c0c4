package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** {@code up} from first use to a sudden death, and the places where PostgreSQL must not start. */
@Tag("system")
@ExtendWith(Installation.class)
class SurvivalTest {
  @TempDir Path temporary;

  @BeforeEach
  void needs() {
    assumeTrue(Posix.geteuid() == 0, "as root only: other users");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
  }

  @Test
  void upIsKilledAndComesBack(Installation.Home home) throws Exception {
    UpDirectory cluster = UpDirectory.in(temporary);
    try {
      try (Running up = cluster.up(home)) {
        UpDirectory.sql(up, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
        List<ProcessHandle> server =
            ProcessHandle.of(up.pid()).orElseThrow().descendants().toList();
        assertThat(server).as("postmaster and its children").hasSizeGreaterThan(3);
        assertThat(up.kill()).isEqualTo(128 + 9);
        for (ProcessHandle process : server) {
          process.onExit().get(60, TimeUnit.SECONDS);
        }
        assertThat(cluster.isMounted()).as("a mount without a daemon is left").isTrue();
      }
      try (Running up = cluster.up(home)) {
        assertThat(UpDirectory.sql(up, "SELECT count(*) FROM t")).isEqualTo("1000");
        assertThat(up.terminate()).as(up.output()).isZero();
        assertThat(up.output()).contains("pgveil: stopped").doesNotContain("cannot unmount");
      }
      assertThat(cluster.isMounted()).isFalse();
      onlyTheOwnerMayWrite(cluster);
      postgresStartsNowhereElse(cluster);
    } finally {
      cluster.discard();
    }
  }

  /**
   * Killed while initdb writes; and the keyring that was chosen then is told by every later use.
   */
  @Test
  void anInterruptedFirstUseStartsOver(Installation.Home home) throws Exception {
    UpDirectory cluster = UpDirectory.in(temporary);
    Path keyring = temporary.resolve("elsewhere/keyring");
    Files.createDirectory(keyring.getParent());
    Files.createFile(keyring);
    Files.setPosixFilePermissions(keyring, PosixFilePermissions.fromString("rw-r--r--"));
    try {
      Command first = home.command("up", cluster.root(), "--keyring", keyring);
      Command.Result refused = first.run();
      assertThat(refused.code()).as(refused.all()).isEqualTo(ExitCode.KEYRING_EXPOSED.code());
      assertThat(cluster.cipher()).isEmptyDirectory();
      Files.setPosixFilePermissions(keyring, PosixFilePermissions.fromString("rw-------"));
      try (Running up = first.start()) {
        up.await("initdb with PostgreSQL");
        while (!Files.exists(cluster.cipher().resolve("global/pg_control"))) {
          assertThat(up.isAlive()).as(up.output()).isTrue();
          Thread.onSpinWait();
        }
        List<ProcessHandle> initdb =
            ProcessHandle.of(up.pid()).orElseThrow().descendants().toList();
        assertThat(up.kill()).isEqualTo(128 + 9);
        for (ProcessHandle process : initdb) {
          process.destroyForcibly();
          process.onExit().get(60, TimeUnit.SECONDS);
        }
      }
      assertThat(cluster.root().resolve("up.json")).doesNotExist();
      for (int use = 0; use < 2; use++) {
        try (Running up = cluster.up(home)) {
          assertThat(UpDirectory.sql(up, "SELECT 1")).isEqualTo("1");
          assertThat(up.terminate()).as(up.output()).isZero();
          assertThat(up.output())
              .contains("keyring   " + keyring)
              .doesNotContain(cluster.keyring().toString());
          assertThat(up.output().contains("starting over")).isEqualTo(use == 0);
        }
      }
    } finally {
      cluster.discard();
    }
  }

  /** The umask of a process that serves a file system is 0. */
  private static void onlyTheOwnerMayWrite(UpDirectory cluster) throws Exception {
    try (Stream<Path> files = Files.walk(cluster.root())) {
      for (Path file : files.toList()) {
        assertThat(Files.getPosixFilePermissions(file, LinkOption.NOFOLLOW_LINKS))
            .as(file.toString())
            .doesNotContain(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE);
      }
    }
  }

  /** Neither on the cipher directory nor on the bare mount point. */
  private static void postgresStartsNowhereElse(UpDirectory cluster) throws Exception {
    Path bin = EmbeddedPostgres.bundled(null).directory();
    RunAs user = RunAs.resolve(null);
    SortedMap<String, String> before = Tree.of(cluster.root());
    for (Path directory : List.of(cluster.cipher(), cluster.mount())) {
      for (String program : List.of("postgres", "initdb")) {
        Command.Result result =
            Command.of(bin.resolve(program), "-D", directory)
                .by("setpriv", "--reuid", user.uid(), "--regid", user.gid(), "--clear-groups", "--")
                .run();
        assertThat(result.code()).as(result.all()).isNotZero();
        assertThat(result.err()).contains(directory.toString());
      }
    }
    assertThat(Tree.difference(before, Tree.of(cluster.root()))).isEmpty();
    assertThat(Files.readAttributes(cluster.mount(), "unix:mode"))
        .isEqualTo(Map.of("mode", 0040000));
  }
}
