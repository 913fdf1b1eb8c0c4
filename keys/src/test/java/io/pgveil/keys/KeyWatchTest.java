package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeyWatchTest {
  private static final int SPC = 1663;

  @TempDir Path root;
  private Cluster cluster;
  private KeyDirectory directory;

  @BeforeEach
  void open() throws KeyException {
    cluster = new Cluster(root).made();
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Cluster.DB, "k1");
      for (int i = 1; i <= 3; i++) {
        d.relationKeys(16384).create(SPC, i, CipherType.AES_128);
      }
      d.sync();
    }
    directory = cluster.open();
    directory.relationKeys(16384).find(SPC, 1);
  }

  @AfterEach
  void close() {
    directory.close();
  }

  private void goesDown() {
    cluster.memory.failure =
        new ProviderException(ProviderException.Code.UNAVAILABLE, "connection refused");
  }

  @Test
  void asksForEachPrincipalKeyInMemoryOnce() throws KeyException {
    Cluster.set(directory, Scope.DEFAULT, "k1");
    Cluster.set(directory, Scope.database(20000), "k2");
    cluster.memory.fetches.set(0);
    directory.watch().look();
    assertThat(cluster.memory.fetches).hasValue(2);
    assertThat(directory.watch().troubles()).isEmpty();
  }

  @Test
  void aProviderThatDoesNotAnswerIsAskedOnce() throws KeyException {
    Cluster.set(directory, Scope.database(20000), "k2");
    goesDown();
    cluster.memory.fetches.set(0);
    directory.watch().look();
    assertThat(cluster.memory.fetches).hasValue(1);
    assertThat(directory.watch().troubles())
        .extracting(KeyWatch.Trouble::key)
        .containsExactly("k1", "k2");
    cluster.memory.failure = null;
    directory.watch().look();
    assertThat(directory.watch().troubles()).isEmpty();
  }

  @Test
  void aDeletedAndAnExchangedKeyAreSeen() {
    byte[] right = cluster.memory.keys.remove(KeyName.of("k1"));
    directory.watch().look();
    assertThat(directory.watch().troubles())
        .singleElement()
        .satisfies(
            t -> {
              assertThat(t.key()).isEqualTo("k1");
              assertThat(t.provider()).isEqualTo("mem");
              assertThat(t.reason()).contains("does not have it");
            });
    cluster.memory.keys.put(KeyName.of("k1"), new byte[16]);
    directory.watch().look();
    assertThat(directory.watch().troubles())
        .singleElement()
        .satisfies(t -> assertThat(t.reason()).contains("another key of this name"));
    cluster.memory.keys.put(KeyName.of("k1"), right);
    directory.watch().look();
    assertThat(directory.watch().troubles()).isEmpty();
  }

  /** Seen failing: the call in RelationKeys.find; nothing was refused. */
  @Test
  void afterTheGraceTimeNoFurtherInternalKeyIsUnwrapped() throws KeyException {
    goesDown();
    directory.watch().look();
    assertThat(directory.relationKeys(16384).find(SPC, 2)).as("no policy").isNotNull();
    directory.watch().refuseAfter(Duration.ofDays(1));
    assertThat(directory.relationKeys(16384).find(SPC, 2)).as("grace").isNotNull();
    directory.watch().refuseAfter(Duration.ZERO);
    assertThat(directory.relationKeys(16384).find(SPC, 1)).as("in use").isNotNull();
    assertThatThrownBy(() -> directory.relationKeys(16384).find(SPC, 3))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("database 16384")
        .hasMessageContaining("\"k1\"")
        .hasMessageContaining("\"mem\"")
        .hasMessageContaining("connection refused");
    cluster.memory.failure = null;
    directory.watch().look();
    assertThat(directory.relationKeys(16384).find(SPC, 3)).isNotNull();
  }

  @Test
  void keysThatAreGivenUpAreForgotten() throws KeyException {
    goesDown();
    directory.watch().look();
    cluster.memory.failure = null;
    Cluster.set(directory, Cluster.DB, "k2");
    goesDown();
    directory.watch().look();
    assertThat(directory.watch().troubles())
        .extracting(KeyWatch.Trouble::key)
        .containsExactly("k2");
  }

  @Test
  void answersOfProvidersAreCounted() throws Exception {
    assertThat(directory.providerHealth().states())
        .singleElement()
        .satisfies(
            s -> {
              assertThat(s.name()).isEqualTo("mem");
              assertThat(s.requests()).isEqualTo(1);
              assertThat(s.lastSuccess()).isNotNull();
              assertThat(s.isFailing()).isFalse();
            });
    goesDown();
    directory.watch().look();
    assertThat(directory.providerHealth().states())
        .singleElement()
        .satisfies(
            s -> {
              assertThat(s.requests()).isEqualTo(2);
              assertThat(s.failures()).isEqualTo(1);
              assertThat(s.lastError()).isEqualTo("connection refused");
              assertThat(s.isFailing()).isTrue();
            });
  }
}
