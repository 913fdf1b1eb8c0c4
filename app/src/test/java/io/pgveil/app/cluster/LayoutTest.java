package io.pgveil.app.cluster;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LayoutTest {
  private static final Path CIPHER = Path.of("/srv/pg/cipher");

  @Test
  void theKeyringIsOutsideCipherDirectoryAndMount() {
    Layout layout = new Layout(Path.of("/srv/pg"));
    assertThat(layout.keyring().startsWith(layout.cipher())).isFalse();
    assertThat(layout.keyring().startsWith(layout.mount())).isFalse();
    assertThat(layout.log().startsWith(layout.mount())).isFalse();
    assertThat(layout.sockets().startsWith(layout.mount())).isFalse();
  }

  @Test
  void relativeDirectoriesAreMadeAbsoluteSinceChildrenWorkElsewhere() {
    assertThat(new Layout(Path.of("x/../data")).root()).isEqualTo(Path.of("data").toAbsolutePath());
  }

  @Test
  void aSocketPathThatIsTooLongIsSeenBeforehand() {
    assertThat(new Layout(Path.of("/" + "d".repeat(87))).socketFits()).isTrue();
    assertThat(new Layout(Path.of("/" + "d".repeat(88))).socketFits()).isFalse();
    assertThat(new Layout(Path.of("/" + "ü".repeat(44))).socketFits()).isFalse();
  }

  @Test
  void controlSocketsLieInShortDirectoriesOfTheUser() {
    assertThat(Layout.runDirectory(CIPHER, 0, Map.of("XDG_RUNTIME_DIR", "/run/user/0")))
        .hasParentRaw(Path.of("/run/pgveil"));
    assertThat(Layout.runDirectory(CIPHER, 1000, Map.of("XDG_RUNTIME_DIR", "/run/user/1000")))
        .hasParentRaw(Path.of("/run/user/1000/pgveil"));
    assertThat(Layout.runDirectory(CIPHER, 1000, Map.of()))
        .hasParentRaw(Path.of("/tmp/pgveil-1000"));
    Path longest =
        Layout.runDirectory(CIPHER, 1000, Map.of("XDG_RUNTIME_DIR", "/" + "r".repeat(200)));
    assertThat(Layout.fits(longest.resolve("control"))).isTrue();
    assertThat(Layout.runDirectory(CIPHER, 0, Map.of()))
        .isNotEqualTo(Layout.runDirectory(Path.of("/srv/other"), 0, Map.of()));
  }

  @Test
  void logsOfOrdinaryUsersGoToTheirStateDirectory() {
    assertThat(Layout.logFile(CIPHER, 0, Map.of())).hasParentRaw(Path.of("/var/log/pgveil"));
    assertThat(Layout.logFile(CIPHER, 1000, Map.of("XDG_STATE_HOME", "/home/a/state")))
        .hasParentRaw(Path.of("/home/a/state/pgveil"));
  }

  @Test
  void anUpDirectoryStandsForItsCipherDirectory(@TempDir Path root) throws Exception {
    assertThat(Layout.cipherDirectory(root)).isEqualTo(root);
    Files.createDirectories(root.resolve("cipher/pg_tde"));
    assertThat(Layout.cipherDirectory(root)).isEqualTo(root.resolve("cipher"));
  }
}
