package io.pgveil.app.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Hazard 16: two daemons never serve one cipher directory. */
class ClusterLockTest {
  @TempDir Path cipher;

  @BeforeEach
  void keyDirectory() throws Exception {
    Files.createDirectory(cipher.resolve(CipherDirectory.KEYS));
  }

  /** Seen failing: flock in ClusterLock.lock; the second has the lock. */
  @Test
  void hazard16_theSecondIsRefusedAndToldWhoHoldsTheLock() throws Exception {
    try (ClusterLock lock = ClusterLock.acquire(cipher, "mount")) {
      assertThat(ClusterLock.tryAcquire(cipher, "other")).isEmpty();
      assertThatThrownBy(() -> ClusterLock.acquire(cipher, "verify"))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> {
                assertThat(e.exitCode()).isEqualTo(ExitCode.ALREADY_SERVED);
                assertThat(e)
                    .hasMessageContaining("process " + ProcessHandle.current().pid())
                    .hasMessageContaining("pgveil mount");
              });
      lock.describe("mount", Path.of("/run/x/control"), Path.of("/srv/pg"));
      assertThat(ClusterLock.holder(cipher))
          .hasValueSatisfying(
              h -> {
                assertThat(h.socket()).isEqualTo("/run/x/control");
                assertThat(h.mountPoint()).isEqualTo("/srv/pg");
              });
    }
    assertThat(ClusterLock.holder(cipher)).isEmpty();
    ClusterLock.acquire(cipher, "verify").close();
  }

  @Test
  void whatADeadDaemonHasLeftInTheFileDoesNotCount() throws Exception {
    Files.writeString(
        cipher.resolve("pg_tde/pgveil.lock"),
        "{\"pid\":1,\"command\":\"mount\",\"socket\":\"/x\"}");
    assertThat(ClusterLock.holder(cipher)).isEmpty();
    ClusterLock.acquire(cipher, "mount").close();
  }

  @Test
  void aLinkInPlaceOfTheLockFileIsNotFollowed(@TempDir Path elsewhere) throws Exception {
    Files.createSymbolicLink(cipher.resolve("pg_tde/pgveil.lock"), elsewhere.resolve("target"));
    assertThatThrownBy(() -> ClusterLock.acquire(cipher, "mount"))
        .isInstanceOf(CommandException.class);
    assertThat(elsewhere.resolve("target")).doesNotExist();
  }
}
