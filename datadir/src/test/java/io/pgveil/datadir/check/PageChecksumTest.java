package io.pgveil.datadir.check;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pages of a real server bear the checksums that we compute. */
class PageChecksumTest {
  @ParameterizedTest
  @CsvSource({"base/16385/16632, 2", "base/16384/16743_vm, 1", "base/16384/16777_init, 1"})
  void goldenPages(String file, int pages) throws IOException {
    byte[] b = Files.readAllBytes(golden().resolve("clear").resolve(file));
    assertThat(b).hasSize(pages * PageHeader.PAGE);
    for (int block = 0; block < pages; block++) {
      int at = block * PageHeader.PAGE;
      assertThat(PageHeader.problem(b, at, block, true)).isNull();
      assertThat(PageHeader.problem(b, at, block + 1, true)).contains("checksum");
      b[at + 5000] ^= 1;
      assertThat(PageHeader.problem(b, at, block, true)).contains("checksum");
      assertThat(PageHeader.problem(b, at, block, false)).isNull();
    }
  }

  /** The golden files of the independent reader, in this repository. */
  private static Path golden() {
    return Stream.iterate(Path.of("").toAbsolutePath(), dir -> dir != null, Path::getParent)
        .map(dir -> dir.resolve("tests/reader/src/test/resources/golden"))
        .filter(Files::isDirectory)
        .findFirst()
        .orElseThrow();
  }
}
