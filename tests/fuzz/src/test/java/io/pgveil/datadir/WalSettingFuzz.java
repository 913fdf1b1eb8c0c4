package io.pgveil.datadir;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The server's command line and configuration files, where {@code pg_tde.wal_encrypt} is looked
 * for. An input is a list of: which file (1 byte), length (2 bytes), content.
 */
public final class WalSettingFuzz {
  private static final Path OUTSIDE = Scratch.directory("configuration");
  private static final List<String> NAMES =
      List.of(
          "postmaster.opts",
          "postgresql.conf",
          "postgresql.auto.conf",
          "a.conf",
          "b.conf",
          "conf.d/c.conf",
          "conf.d/d.conf");

  private WalSettingFuzz() {}

  private record Memory(Map<String, byte[]> files, int[] reads)
      implements WalEncryptionSetting.ClearFiles {
    @Override
    public byte[] read(String relativePath) {
      Violation.unless(reads[0]++ < 2_000, "files are read without end");
      return files.get(relativePath);
    }

    @Override
    public List<String> list(String relativePath) throws IOException {
      if (!relativePath.equals("conf.d")) {
        throw new IOException("no such directory");
      }
      return List.of("c.conf", "d.conf", ".e.conf", "f");
    }
  }

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 8 && !bits.isEmpty(); i++) {
      String name = NAMES.get(bits.u8() % NAMES.size());
      byte[] content = bits.block();
      files.put(name, content);
      for (String line : new String(content, StandardCharsets.UTF_8).split("\n", -1)) {
        WalEncryptionSetting.parse(line);
        WalEncryptionSetting.words(line);
        WalEncryptionSetting.isTrue(line);
      }
    }
    new WalEncryptionSetting(new Memory(files, new int[1]), OUTSIDE.resolve("mount")).isOn();
  }
}
