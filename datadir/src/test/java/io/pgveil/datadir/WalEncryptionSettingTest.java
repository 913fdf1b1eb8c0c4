package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WalEncryptionSettingTest {
  private final Map<String, String> inside = new HashMap<>();

  private boolean isOn(Path mount) {
    return new WalEncryptionSetting(
            new WalEncryptionSetting.ClearFiles() {
              @Override
              public byte[] read(String path) {
                String s = inside.get(path);
                return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
              }

              @Override
              public List<String> list(String path) {
                return inside.keySet().stream()
                    .filter(p -> p.startsWith(path + "/"))
                    .map(p -> p.substring(path.length() + 1))
                    .toList();
              }
            },
            mount)
        .isOn();
  }

  @Test
  void nothingSaidIsOn(@TempDir Path mount) {
    assertThat(isOn(mount)).isTrue();
  }

  @Test
  void laterSettingsAndAutoConfWin(@TempDir Path mount) {
    inside.put("postgresql.conf", "pg_tde.wal_encrypt = off\n#x\npg_tde.wal_encrypt = 'on' # y\n");
    assertThat(isOn(mount)).isTrue();
    inside.put("postgresql.auto.conf", "# Do not edit\npg_tde.wal_encrypt = 'off'\n");
    assertThat(isOn(mount)).isFalse();
    inside.put(
        "postmaster.opts", "/usr/bin/postgres \"-D\" \"/x\" \"-c\" \"pg_tde.wal_encrypt=on\"\n");
    assertThat(isOn(mount)).isTrue();
  }

  @Test
  void includesAreFollowedInsideAndOutside(@TempDir Path mount, @TempDir Path etc)
      throws IOException {
    Files.writeString(etc.resolve("postgresql.conf"), "include_dir 'conf.d'\n");
    Files.createDirectory(etc.resolve("conf.d"));
    Files.writeString(etc.resolve("conf.d/10.conf"), "pg_tde.wal_encrypt no\n");
    inside.put(
        "postmaster.opts",
        "/usr/bin/postgres \"-c\" \"config_file=" + etc.resolve("postgresql.conf") + "\"");
    assertThat(isOn(mount)).isFalse();
    Files.writeString(
        etc.resolve("conf.d/20.conf"), "include '" + mount.resolve("sub/w.conf") + "'\n");
    inside.put("sub/w.conf", "PG_TDE.WAL_ENCRYPT=true");
    assertThat(isOn(mount)).isTrue();
  }

  @Test
  void whatCannotBeReadIsOn(@TempDir Path mount) {
    // a device without an end, and what is no path
    for (String file : List.of("/dev/zero", "/a\0b", "/proc")) {
      inside.put("postmaster.opts", "postgres \"-c\" \"config_file=" + file + "\"");
      assertThat(isOn(mount)).as(file).isTrue();
    }
    inside.remove("postmaster.opts");
    inside.put("postgresql.conf", "pg_tde.wal_encrypt = off\ninclude_dir '/a\0b'\n");
    assertThat(isOn(mount)).isTrue();
  }

  @Test
  void includesThatMultiplyComeToAnEnd(@TempDir Path mount) {
    // 20 to the 10th
    inside.put("postgresql.conf", "pg_tde.wal_encrypt = off\n" + "include '0'\n".repeat(20));
    for (int i = 0; i < 9; i++) {
      inside.put("" + i, ("include '" + (i + 1) + "'\n").repeat(20));
    }
    assertThat(isOn(mount)).isTrue();
  }
}
