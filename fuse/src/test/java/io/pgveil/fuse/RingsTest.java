package io.pgveil.fuse;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class RingsTest {
  @Test
  void countsThePossibleProcessors() {
    assertThat(Rings.possibleCpus("0\n")).isEqualTo(1);
    assertThat(Rings.possibleCpus("0-1\n")).isEqualTo(2);
    assertThat(Rings.possibleCpus("0-3,8-11")).isEqualTo(12);
  }

  @Test
  void noneAreMadeThatNobodyWants() {
    assertThat(Rings.prepare(-1, MountOptions.at(Path.of("/nowhere")).ioUring(false).build()))
        .isEmpty();
  }
}
