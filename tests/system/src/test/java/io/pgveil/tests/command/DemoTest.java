package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** {@code pgveil demo}. */
@Tag("system")
@ExtendWith(Installation.class)
class DemoTest {
  @TempDir Path temporary;

  @Test
  void everyCheckPassesAndNothingIsLeft(Installation.Home home) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root, which needs no fusermount3");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    Command.Result result =
        home.command("demo").environment("PGVEIL_JAVA_OPTS", "-Djava.io.tmpdir=" + temporary).run();
    assertThat(result.code()).as(result.all()).isZero();
    assertThat(result.out().lines().filter(l -> l.startsWith("ok  ")))
        .as("the table: %s", result.out())
        .hasSize(8);
    assertThat(result.out())
        .contains("0 of 6 needles found")
        .contains("all needles found: in [table, index, catalog, wal, log, spill]");
    assertThat(temporary).isEmptyDirectory();
    assertThat(Files.readString(Path.of("/proc/self/mountinfo")))
        .doesNotContain(temporary.toString());
  }
}
