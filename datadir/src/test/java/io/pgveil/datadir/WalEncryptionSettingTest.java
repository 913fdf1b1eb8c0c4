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
}
