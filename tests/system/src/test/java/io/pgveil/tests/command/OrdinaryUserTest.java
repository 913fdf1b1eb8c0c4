package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code up} without any right of root, mounted through fusermount3. In a mount namespace of its
 * own, where /dev/fuse has the mode that it has on an ordinary system.
 */
@Tag("system")
@ExtendWith(Installation.class)
class OrdinaryUserTest {
  private static final String WITH_OPEN_DEVICE =
      """
      d=$(mktemp -d) && mount -t tmpfs fuse $d && mknod -m 0666 $d/fuse c 10 229
      mount --bind $d/fuse /dev/fuse && umount -l $d && rmdir $d && exec "$@"
      """;

  @TempDir Path temporary;

  @Test
  void anOrdinaryUserHasTheMountForHimself(Installation.Home home) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "only root can become another user");
    assumeTrue(Files.exists(Path.of("/dev/fuse")), "/dev/fuse is missing");
    assumeTrue(
        Command.of("sh", "-c", "command -v fusermount3").run().code() == 0,
        "fusermount3 is not installed (package fuse3)");
    Command.Result namespace =
        Command.of("true").by("unshare", "-m", "sh", "-ec", WITH_OPEN_DEVICE, "sh").run();
    assumeTrue(namespace.code() == 0, "no mount namespace, or no node: " + namespace.err());

    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    RunAs user = RunAs.resolve("nobody");
    Path own = Files.createDirectory(temporary.resolve("own"));
    user.own(own);
    UpDirectory cluster = new UpDirectory(own.resolve("up"));
    Command command =
        home.command(
                "up", cluster.root(), "--pg-bindir", EmbeddedPostgres.bundled(null).directory())
            .by("setpriv", "--reuid", user.uid(), "--regid", user.gid(), "--clear-groups", "--")
            .by("unshare", "-m", "sh", "-ec", WITH_OPEN_DEVICE, "sh")
            .environment("HOME", own.toString())
            .environment("XDG_RUNTIME_DIR", own.toString());
    try (Running up = command.start()) {
      up.await(UpDirectory.READY);
      assertThat(UpDirectory.sql(up, "CREATE TABLE t AS SELECT 1 AS i")).isEmpty();
      assertThat(look(up, "--reuid", user.uid(), cluster).out().strip()).isEqualTo("18");
      assertThat(look(up, "--reuid", 0, cluster).err()).contains("Permission denied");
      assertThat(up.terminate()).as(up.output()).isZero();
    }
    // nothing is mounted: the mode of the bare directory forbids to read it
    try (Running up = command.start()) {
      up.await(UpDirectory.READY);
      assertThat(UpDirectory.sql(up, "SELECT i FROM t")).isEqualTo("1");
      assertThat(up.terminate()).as(up.output()).isZero();
    }
  }

  /** Reads a file of the mount, in the namespace where that is. */
  private static Command.Result look(Running up, String option, int uid, UpDirectory cluster)
      throws Exception {
    return Command.of("cat", cluster.mount().resolve("PG_VERSION"))
        .by("setpriv", option, uid, "--clear-groups", "--")
        .by("nsenter", "-t", up.pid(), "-m", "--")
        .run();
  }
}
