package io.pgveil.app.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MountPointTest {
  /** Seen failing: the mode in MountPoint.prepare; OWNER_READ and others are set. */
  @Test
  void hazard16_theBareMountPointIsClosedToPostgres(@TempDir Path root) throws Exception {
    Path mount = Files.createDirectory(root.resolve("mount"));
    MountPoint.prepare(mount, root.resolve("cipher"));
    assertThat(Files.getPosixFilePermissions(mount))
        .doesNotContain(
            PosixFilePermission.OWNER_READ,
            PosixFilePermission.GROUP_EXECUTE,
            PosixFilePermission.OTHERS_EXECUTE);
    // a second time, in the state that the first has left
    MountPoint.prepare(mount, root.resolve("cipher"));
  }

  @Test
  void badMountPointsAreRefusedAndLeftAsTheyAre(@TempDir Path root) throws Exception {
    Path file = Files.createFile(root.resolve("file"));
    refused(file, ExitCode.MOUNT_POINT_MISSING);
    refused(root.resolve("none"), ExitCode.MOUNT_POINT_MISSING);
    var before = Files.getPosixFilePermissions(root);
    refused(root, ExitCode.MOUNT_POINT_NOT_EMPTY);
    refused(Path.of("/proc"), ExitCode.MOUNT_POINT_BUSY);
    assertThat(Files.getPosixFilePermissions(root)).isEqualTo(before);
  }

  private static void refused(Path directory, ExitCode code) {
    assertThatThrownBy(() -> MountPoint.prepare(directory, Path.of("/nonexistent")))
        .isInstanceOfSatisfying(
            CommandException.class, e -> assertThat(e.exitCode()).isEqualTo(code));
  }
}
