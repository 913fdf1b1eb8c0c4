package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.TreeSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AfterProperty;
import net.jqwik.api.lifecycle.BeforeProperty;
import org.jspecify.annotations.Nullable;

/** Truncated and garbled files give a KeyException or their keys, and never anything else. */
class GarbledFilesTest {
  private static final List<String> FILES =
      List.of(
          "current/16384_keys",
          "current/wal_keys",
          "current/pgveil.seal",
          "current/1664_providers",
          "current/keys_version",
          "previous/16384_keys",
          "previous/wal_keys");

  private @Nullable Path root;

  @BeforeProperty
  void make() throws IOException {
    root = Files.createTempDirectory("garbled");
  }

  @AfterProperty
  void clean() throws IOException {
    deleteTree(Objects.requireNonNull(root));
  }

  private static void deleteTree(Path top) throws IOException {
    try (var tree = Files.walk(top)) {
      for (Path p : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(p);
      }
    }
  }

  @Property(tries = 150)
  void anyDamageIsAKeyException(
      @ForAll @IntRange(min = 0, max = 6) int which,
      @ForAll @IntRange(min = 0, max = 100) int keepPercent,
      @ForAll @IntRange(min = 0, max = 6) int flips,
      @ForAll long seed)
      throws IOException {
    Random random = new Random(seed);
    String file = FILES.get(which);
    String version = file.substring(0, file.indexOf('/'));
    String name = file.substring(file.indexOf('/') + 1);
    Path place = Files.createDirectory(Objects.requireNonNull(root).resolve("case"));
    try {
      Cluster cluster = new Cluster(place).golden(version);
      byte[] content = cluster.content(name);
      byte[] bad =
          keepPercent > 50
              ? content.clone()
              : Arrays.copyOf(content, content.length * keepPercent / 50);
      for (int i = 0; i < flips && bad.length > 0; i++) {
        // half of the damage in the first entries' fields, where it matters
        int at = random.nextInt(random.nextBoolean() ? Math.min(bad.length, 400) : bad.length);
        bad[at] = random.nextBoolean() ? (byte) random.nextInt() : (byte) (bad[at] ^ 1);
      }
      cluster.write(name, bad);
      useEverything(cluster, place);
    } finally {
      deleteTree(place);
    }
  }

  private static void useEverything(Cluster cluster, Path place) {
    try (KeyDirectory d = cluster.openReadOnly()) {
      assertThat(d.principalKeys().fetches()).isZero();
    } catch (KeyException e) {
      isGood(e);
    }
    try (KeyDirectory d = cluster.open()) {
      attempt(() -> Cluster.repoint(d, place.resolve("keyring")));
      attempt(() -> new ListProviders(Scope.SERVER).run(d));
      for (int oid : List.of(1663, 1664, 16384)) {
        attempt(() -> new KeyInfo(new Scope(oid)).run(d));
      }
      attempt(
          () -> {
            for (RelationKeys.Entry e : d.relationKeys(16384).entries()) {
              attempt(() -> d.relationKeys(16384).find(e.tablespaceOid(), e.relNumber()));
            }
          });
      attempt(
          () -> {
            for (WalRange r : d.walKeys().ranges()) {
              attempt(() -> d.walKeys().key(r));
            }
          });
      attempt(() -> d.sealKeys().activeId());
      attempt(() -> new SetKey(Cluster.DB, Scope.SERVER, "golden", "test-db-key").run(d));
      attempt(() -> d.relationKeys(16384).create(1663, 99, CipherType.AES_128));
      attempt(d::sync);
    } catch (KeyException e) {
      isGood(e);
    }
  }

  private interface Action {
    void run() throws KeyException;
  }

  private static void attempt(Action action) {
    try {
      action.run();
    } catch (KeyException e) {
      isGood(e);
    }
  }

  private static void isGood(KeyException e) {
    assertThat(e.getMessage()).isNotBlank().doesNotContain("null");
  }

  @Property(tries = 15)
  void keysSurviveAnyOrderOfCreateFreeSyncRotateAndReopen(@ForAll long seed)
      throws IOException, KeyException {
    Random random = new Random(seed);
    Path place = Files.createDirectory(Objects.requireNonNull(root).resolve("case"));
    try {
      Cluster cluster = new Cluster(place).made();
      KeyDirectory d = cluster.open();
      byte[][] model = new byte[20][];
      try {
        Cluster.set(d, Cluster.DB, "k1");
        for (int i = 0; i < 40; i++) {
          int relation = random.nextInt(model.length);
          RelationKeys keys = d.relationKeys(16384);
          switch (random.nextInt(6)) {
            case 0, 1, 2 ->
                model[relation] =
                    keys.create(
                            1663,
                            relation,
                            random.nextBoolean() ? CipherType.AES_128 : CipherType.AES_256)
                        .copyKey();
            case 3 -> {
              keys.free(1663, relation);
              model[relation] = null;
            }
            case 4 -> Cluster.set(d, Cluster.DB, "k" + (1 + random.nextInt(3)));
            default -> {
              d.sync();
              d.close();
              d = cluster.open();
            }
          }
          TreeSet<Integer> expected = new TreeSet<>();
          for (int r = 0; r < model.length; r++) {
            InternalKey key = d.relationKeys(16384).find(1663, r);
            assertThat(key == null ? null : key.copyKey()).isEqualTo(model[r]);
            if (model[r] != null) {
              expected.add(r);
            }
          }
          assertThat(d.relationKeys(16384).entries())
              .extracting(RelationKeys.Entry::relNumber)
              .containsExactlyInAnyOrderElementsOf(expected);
        }
      } finally {
        d.close();
      }
    } catch (UncheckedIOException e) {
      throw e.getCause();
    } finally {
      deleteTree(place);
    }
  }
}
