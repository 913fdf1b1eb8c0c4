package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.keys.KeyException.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SealKeysTest {
  @TempDir Path root;
  private Cluster cluster;

  @BeforeEach
  void make() throws KeyException {
    cluster = new Cluster(root).made();
  }

  private static byte[] key(KeyDirectory d, byte[] id) throws KeyException {
    return Objects.requireNonNull(d.sealKeys().copyKey(id));
  }

  @Test
  void bornWithTheServerKeyAndKeptThroughRotations() throws KeyException {
    byte[] id;
    byte[] key;
    try (KeyDirectory d = cluster.open()) {
      assertThat(d.sealKeys().exist()).isFalse();
      assertThatThrownBy(() -> d.sealKeys().create()).hasMessageContaining("not configured");
      assertThatThrownBy(() -> d.sealKeys().activeId()).hasMessageContaining("restore");
      Cluster.set(d, Scope.SERVER, "k1");
      id = d.sealKeys().activeId();
      key = key(d, id);
      assertThat(key).hasSize(32);
      d.sealKeys().create();
      assertThat(d.sealKeys().activeId()).isEqualTo(id);
      Cluster.set(d, Scope.SERVER, "k2");
      assertThat(key(d, id)).isEqualTo(key);
      d.sealKeys().rotate();
      assertThat(d.sealKeys().activeId()).isNotEqualTo(id);
      assertThat(d.sealKeys().count()).isEqualTo(2);
      assertThat(key(d, id)).isEqualTo(key);
      assertThat(key(d, d.sealKeys().activeId())).isNotEqualTo(key);
    }
    try (KeyDirectory d = cluster.open()) {
      assertThat(key(d, id)).isEqualTo(key);
      assertThat(d.sealKeys().activeId()).isNotEqualTo(id);
      d.sealKeys().rotate();
      assertThat(d.sealKeys().count()).isEqualTo(3);
    }
    byte[] file = cluster.content("pgveil.seal");
    assertThat(file).hasSize(320 + 3 * 128 + 32);
    assertThat(Hex.at(file, 0, 16)).isEqualTo("50475601" + "03000000" + "80060000" + "ffffffff");
    assertThat(Hex.at(file, 320, 16)).isEqualTo(Hex.at(id, 0, 16));
    assertThat(Hex.at(file, 336, 8)).isEqualTo("01000000" + "02000000");
    assertThat(Hex.at(file, 464, 8)).isEqualTo("01000000" + "02000000");
    assertThat(Hex.at(file, 592, 8)).isEqualTo("01000000" + "01000000");
    assertThat(Hex.at(file, 320 + 96, 32)).isEqualTo("00".repeat(32));
  }

  @Test
  void aLostSealIsNeverMadeAgainBySettingAKey() throws Exception {
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.SERVER, "k1");
    }
    Files.delete(cluster.directory.resolve("pgveil.seal"));
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.SERVER, "k2");
      Cluster.set(d, Scope.DEFAULT, "k2");
      assertThat(d.sealKeys().exist()).isFalse();
      assertThatThrownBy(() -> d.sealKeys().activeId())
          .hasMessageContaining("pgveil.seal")
          .hasMessageContaining("missing")
          .hasMessageContaining("restore");
    }
  }

  @Test
  void droppedRepeatedAndReorderedEntriesAreSeen() throws KeyException {
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.SERVER, "k1");
      d.sealKeys().rotate();
      d.sealKeys().rotate();
    }
    byte[] good = cluster.content("pgveil.seal");
    byte[] a = Arrays.copyOfRange(good, 320, 448);
    byte[] b = Arrays.copyOfRange(good, 448, 576);

    byte[] swapped = good.clone();
    System.arraycopy(b, 0, swapped, 320, 128);
    System.arraycopy(a, 0, swapped, 448, 128);
    refused(swapped);

    byte[] dropped = new byte[good.length - 128];
    System.arraycopy(good, 0, dropped, 0, 320);
    System.arraycopy(good, 448, dropped, 320, good.length - 448);
    Bytes.putInt(dropped, 4, 2);
    refused(dropped);

    byte[] repeated = good.clone();
    System.arraycopy(a, 0, repeated, 448, 128);
    refused(repeated);

    byte[] flipped = good.clone();
    flipped[320 + 20] = 1;
    refused(flipped);
  }

  private void refused(byte[] content) throws KeyException {
    cluster.write("pgveil.seal", content);
    try (KeyDirectory d = cluster.open()) {
      assertThatThrownBy(() -> d.sealKeys().activeId())
          .isInstanceOfSatisfying(
              KeyException.class,
              e -> {
                assertThat(e.kind()).isEqualTo(Kind.CORRUPTED);
                assertThat(e).hasMessageContaining("pgveil.seal").hasMessageContaining("restore");
              });
    }
  }
}
