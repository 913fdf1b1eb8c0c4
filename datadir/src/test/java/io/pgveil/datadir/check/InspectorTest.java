package io.pgveil.datadir.check;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.keys.KeyDirectory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the inspector says of each kind of file, with and without keys. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class InspectorTest {
  private Cluster cluster;

  @BeforeAll
  void build(@TempDir Path dir) throws Exception {
    cluster = new Cluster(dir);
  }

  private List<Inspector.Group> inspect(Path file, int block) throws Exception {
    try (KeyDirectory keys = cluster.openKeys()) {
      return new Inspector(cluster.cipher, List.of(cluster.served()), keys).inspect(file, block);
    }
  }

  private List<Inspector.Group> inspect(String file, int block) throws Exception {
    return inspect(cluster.cipher.resolve(file), block);
  }

  private List<Inspector.Group> withoutKeys(String file) throws Exception {
    return new Inspector(cluster.cipher, List.of(), null).inspect(cluster.cipher.resolve(file), 0);
  }

  private static @Nullable String value(List<Inspector.Group> groups, String group, String field) {
    return groups.stream()
        .filter(g -> g.title().equals(group))
        .flatMap(g -> g.fields().stream())
        .filter(f -> f.name().equals(field))
        .map(Inspector.Field::value)
        .findFirst()
        .orElse(null);
  }

  @Test
  void relation() throws Exception {
    List<Inspector.Group> g = inspect("base/5/16384_fsm", 2);
    assertThat(value(g, "file", "kind")).isEqualTo("relation");
    assertThat(value(g, "file", "database")).isEqualTo("5");
    assertThat(value(g, "file", "tablespace")).isEqualTo("1663");
    assertThat(value(g, "file", "relation")).isEqualTo("16384");
    assertThat(value(g, "file", "fork")).isEqualTo("fsm");
    assertThat(value(g, "internal key", "entry")).isEqualTo("0");
    assertThat(value(g, "internal key", "cipher")).isEqualTo("AES_128");
    assertThat(value(g, "principal key", "name")).isEqualTo("principal");
    assertThat(value(g, "principal key", "provider")).isEqualTo("ring (id -1)");
    assertThat(value(g, "page", "block")).isEqualTo("2");
    assertThat(value(g, "page", "pd_lsn")).isEqualTo("0/1234568");
    assertThat(value(g, "page", "pd_checksum")).endsWith("(right)");
    assertThat(value(g, "page", "pd_lower")).isEqualTo("28");
    assertThat(value(g, "page", "pd_special")).isEqualTo("8192");
    assertThat(value(g, "page", "layout version")).isEqualTo("4");
    assertThat(value(inspect("base/5/16384_fsm", 1), "page", "content")).isEqualTo("zeros");
    assertThat(value(inspect("base/5/16384_fsm", 9), "page", "content")).contains("behind the end");
  }

  @Test
  void relationWithoutKeys() throws Exception {
    List<Inspector.Group> g = withoutKeys("base/5/16384");
    assertThat(value(g, "internal key", "entry")).isEqualTo("0");
    assertThat(value(g, "principal key", "provider")).isEqualTo("ring (id -1)");
    assertThat(value(g, "page", "content")).contains("no keys at hand");
    assertThat(value(g, "page", "pd_lsn")).isNull();
  }

  @Test
  void relationInAServedTablespace() throws Exception {
    List<Inspector.Group> g = inspect(cluster.tablespace.resolve("PG_18_202506291/5/16389"), 0);
    assertThat(value(g, "file", "tablespace")).isEqualTo("16401");
    assertThat(value(g, "page", "pd_checksum")).endsWith("(right)");
  }

  @Test
  void walSegment() throws Exception {
    List<Inspector.Group> g = inspect("pg_wal/000000010000000000000002", 0);
    assertThat(value(g, "file", "begins at")).isEqualTo("0/200000");
    assertThat(value(g, "WAL range", "type")).isEqualTo("ENCRYPTED");
    assertThat(value(g, "WAL range", "range begins at")).isEqualTo("1:0/8");
    assertThat(value(g, "page", "magic")).isEqualTo("d118 (PostgreSQL 18)");
    assertThat(value(g, "page", "address")).isEqualTo("0/200000");
    assertThat(value(g, "page", "segment size")).isEqualTo("1048576");
    assertThat(value(g, "page", "header")).isEqualTo("right");
    assertThat(value(inspect("pg_wal/000000010000000000000005", 0), "page", "header"))
        .startsWith("not of a page that was written here");
  }

  @Test
  void sealedFile(@TempDir Path dir) throws Exception {
    List<Inspector.Group> g = inspect("PG_VERSION", 0);
    assertThat(value(g, "file", "kind")).isEqualTo("sealed file");
    assertThat(value(g, "file", "clear length")).isEqualTo("3");
    assertThat(value(g, "header", "first copy")).isEqualTo("authentic");
    assertThat(value(g, "header", "second copy")).isEqualTo("authentic");
    assertThat(value(g, "header", "cipher")).isEqualTo("AES-256-XTS");
    assertThat(value(g, "header", "seal-key id"))
        .isEqualTo(value(inspect("pg_tde/pgveil.seal", 0), "entry 0", "id"));
    String fileId = value(g, "header", "file id");
    assertThat(fileId).hasSize(32);
    List<Inspector.Group> blind = withoutKeys("PG_VERSION");
    assertThat(value(blind, "header", "file id")).isEqualTo(fileId);
    assertThat(value(blind, "header", "first copy")).contains("no keys at hand");

    Path damaged = cluster.cipher.resolve("damaged");
    byte[] b = Files.readAllBytes(cluster.cipher.resolve("PG_VERSION"));
    Arrays.fill(b, 0, 512, (byte) 0x55);
    Files.write(damaged, b);
    try {
      List<Inspector.Group> half = inspect("damaged", 0);
      assertThat(value(half, "header", "first copy")).contains("no magic");
      assertThat(value(half, "header", "second copy")).isEqualTo("authentic");
      assertThat(value(half, "header", "file id")).isEqualTo(fileId);
    } finally {
      Files.delete(damaged);
    }
  }

  @Test
  void keyFiles() throws Exception {
    List<Inspector.Group> relations = inspect("pg_tde/5_keys", 0);
    assertThat(value(relations, "header", "entries")).isEqualTo("5");
    assertThat(value(relations, "header", "authentic")).isEqualTo("yes");
    assertThat(value(relations, "entry 0", "relation")).isEqualTo("16384");
    List<Inspector.Group> wal = inspect("pg_tde/wal_keys", 0);
    assertThat(value(wal, "entry 0", "begins at")).isEqualTo("1:0/8");
    List<Inspector.Group> seal = inspect("pg_tde/pgveil.seal", 0);
    assertThat(value(seal, "entry 0", "state")).isEqualTo("active");
    List<Inspector.Group> providers = inspect("pg_tde/1664_providers", 0);
    assertThat(value(providers, "provider", "name")).isEqualTo("ring");
    assertThat(value(inspect("pg_tde/keys_version", 0), "versions", "WAL key file"))
        .isEqualTo("024b4557");
  }

  /**
   * A keyring shows names and lengths, and nothing ever shows a key. Seen failing: the silence of
   * Inspector.outside, the key of a keyring added; its text contains the key.
   */
  @Test
  void hazard22NoKeyIsEverShown() throws Exception {
    List<Inspector.Group> g = inspect(cluster.keyring, 0);
    assertThat(value(g, "file", "kind")).isEqualTo("keyring");
    assertThat(value(g, "key", "name")).isEqualTo("principal");
    assertThat(value(g, "key", "length")).isEqualTo("16 bytes");
    byte[] ring = Files.readAllBytes(cluster.keyring);
    String hex = HexFormat.of().formatHex(ring, 256, 272);
    String text = new String(ring, 256, 16, StandardCharsets.ISO_8859_1);
    for (String file : List.of("pg_tde/5_keys", "pg_tde/wal_keys", "pg_tde/pgveil.seal")) {
      assertThat(inspect(file, 0).toString()).doesNotContain(hex).doesNotContain(text);
    }
    assertThat(g.toString()).doesNotContain(hex).doesNotContain(text);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "base/5/t3_16387",
        "base/pgsql_tmp/pgsql_tmp1.0",
        "log/empty",
        "base/5/16385",
        "global/pg_control",
        "pg_tde/0_keys",
        "pg_tde/1663_keys"
      })
  void otherFiles(String file) throws Exception {
    assertThat(inspect(file, 0)).isNotEmpty();
    assertThat(withoutKeys(file)).isNotEmpty();
  }

  @Test
  void garbageIsDescribedToo() throws Exception {
    Path file = cluster.cipher.resolve("pg_tde/9_keys");
    Files.write(file, new byte[500]);
    try {
      assertThat(value(inspect("pg_tde/9_keys", 0), "content", "error")).contains("corrupted");
    } finally {
      Files.delete(file);
    }
  }

  @Test
  void findsTheCipherDirectory() {
    assertThat(Inspector.cipherDirectoryOf(cluster.cipher.resolve("base/5/16384")))
        .isEqualTo(cluster.cipher.toAbsolutePath());
    assertThat(Inspector.cipherDirectoryOf(Path.of("/nowhere/x"))).isNull();
  }
}
