package io.pgveil.app;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NeedleScanTest {
  private static final String MARKER = "marker0123x";
  private static final int SIZE = (2 << 20) + 100;

  @ParameterizedTest
  @ValueSource(
      ints = {
        0,
        1,
        (1 << 20) - 20,
        (1 << 20) - 12,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        (2 << 20) - 5,
        SIZE - 17
      })
  void aNeedleIsFoundWhereverItLies(int offset, @TempDir Path root) throws Exception {
    byte[] content = new byte[SIZE];
    byte[] needle = (MARKER + "abcdef").getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(needle, 0, content, offset, needle.length);
    Files.createDirectory(root.resolve("d"));
    Files.write(root.resolve("d/f"), content);
    Files.write(root.resolve("empty"), new byte[0]);
    NeedleScan scan = NeedleScan.of(root, MARKER);
    assertThat(scan.filesWith("abcdef")).containsExactly(Path.of("d/f"));
    assertThat(scan.names()).containsExactly("abcdef");
    assertThat(scan.bytes()).isEqualTo(SIZE);
    assertThat(scan.files()).isEqualTo(2);
  }
}
