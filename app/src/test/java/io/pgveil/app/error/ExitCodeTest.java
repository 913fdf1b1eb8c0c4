package io.pgveil.app.error;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ExitCodeTest {
  @Test
  void numbersAreDistinctAndNoSignalsOrShellCodes() {
    assertThat(Arrays.stream(ExitCode.values()).map(ExitCode::code)).doesNotHaveDuplicates();
    assertThat(ExitCode.values()).allSatisfy(c -> assertThat(c.code()).isBetween(0, 125));
  }

  @Test
  void theDocumentHoldsTheSameTable() throws IOException {
    assertThat(Files.readString(Path.of("../docs/errors.md")))
        .as("begins with what this prints: pgveil help errors --markdown")
        .startsWith(ExitCode.markdown());
  }
}
