package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
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
