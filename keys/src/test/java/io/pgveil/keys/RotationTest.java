package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Rotation over many internal keys. */
class RotationTest {
  static final int KEYS = 100_000;

  @TempDir Path root;

  static Cluster filled(Path root) throws KeyException {
    Cluster cluster = new Cluster(root).made();
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.DEFAULT, "k1");
      for (int i = 0; i < KEYS; i++) {
        d.relationKeys(16384).create(1663, i, CipherType.AES_128);
      }
      d.sync();
    }
    return cluster;
  }

  @Test
  void a100_000KeysAreAtMostTenFsyncs() throws KeyException {
    Cluster cluster = filled(root);
    byte[] key;
    try (KeyDirectory d = cluster.open()) {
      key = Objects.requireNonNull(d.relationKeys(16384).find(1663, 4711)).copyKey();
      long before = d.fsyncs();
      Cluster.set(d, Cluster.DB, "k2");
      assertThat(d.fsyncs() - before).as("file and directory").isEqualTo(2);
      Cluster.set(d, Cluster.DB, "k1");
      before = d.fsyncs();
      Cluster.set(d, Scope.DEFAULT, "k3");
      assertThat(d.fsyncs() - before).as("default, server, seal and database").isLessThan(10);
    }
    cluster.memory.keys.remove(KeyName.of("k1"));
    try (KeyDirectory d = cluster.open()) {
      assertThat(d.relationKeys(16384).entries()).hasSize(KEYS);
      assertThat(Objects.requireNonNull(d.relationKeys(16384).find(1663, 4711)).copyKey())
          .isEqualTo(key);
    }
  }
}
