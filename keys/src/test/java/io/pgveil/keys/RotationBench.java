package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Prints how long a rotation takes; run when asked for: {@code -Dtest=RotationBench}. */
class RotationBench {
  @TempDir Path root;

  @Test
  void time() throws KeyException {
    Cluster cluster = RotationTest.filled(root);
    try (KeyDirectory d = cluster.open()) {
      long start = System.nanoTime();
      assertThat(d.relationKeys(16384).entries()).hasSize(RotationTest.KEYS);
      print("load", start);
      for (int i = 0; i < 5; i++) {
        start = System.nanoTime();
        Cluster.set(d, Cluster.DB, "k" + (2 - i % 2));
        print("rotate", start);
      }
    }
  }

  private static void print(String what, long start) {
    System.out.printf(
        "%s %,d keys: %,d ms%n", what, RotationTest.KEYS, (System.nanoTime() - start) / 1_000_000);
  }
}
