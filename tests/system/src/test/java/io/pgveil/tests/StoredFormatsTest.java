package io.pgveil.tests;

import static io.pgveil.tests.support.TestCluster.list;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.postgres.PostgresServer.Stop;
import io.pgveil.reader.Bytes;
import io.pgveil.reader.Keyring;
import io.pgveil.reader.KeysVersion;
import io.pgveil.reader.ProviderFile;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.SealFile;
import io.pgveil.reader.Secret;
import io.pgveil.reader.SignedKeyInfo;
import io.pgveil.reader.WalKeyFile;
import io.pgveil.reader.WalLocation;
import io.pgveil.tests.support.Clusters;
import io.pgveil.tests.support.Pgveil;
import io.pgveil.tests.support.Postgres;
import io.pgveil.tests.support.StoredCluster;
import io.pgveil.tests.support.StoredCluster.RelationId;
import io.pgveil.tests.support.TestCluster;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Key files and WAL that the program writes under a server are, field by field, what the
 * specification says; the reader that says so shares no code with the program.
 *
 * <p>WAL is compared twice. Read by pgveil's rule (a word of zeros in an encrypted range is clear),
 * every byte of every segment is what PostgreSQL reads through the mount. Read by pg_tde's rule
 * (every byte of the range is ciphertext), every byte is the same but for those words; and no such
 * word lies in a page with a header of a segment that is complete: to pg_tde all records are there,
 * and noise only where there is no WAL.
 */
@Tag("system")
class StoredFormatsTest {
  private static final int DEFAULT = 1663;
  private static final int SERVER = 1664;

  @RegisterExtension final Clusters clusters = new Clusters();
  @TempDir Path root;
  private TestCluster cluster;
  private Instant begin;

  @ParameterizedTest(name = "aes_{0}, WAL segments of {1} MB")
  @CsvSource({"128, 1", "256, 16"})
  @Timeout(value = 3, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void everyField(int keyBits, int segmentMegabytes) throws Exception {
    begin = Instant.now();
    cluster = clusters.mounted(root, Postgres.major(18), keyBits);
    cluster.initdb("--wal-segsize=" + segmentMegabytes);
    cluster.start();
    load();
    cluster.restart();
    cluster.execute("INSERT INTO rows SELECT -id, v FROM rows", "SELECT pg_switch_wal()");
    cluster.execute("INSERT INTO toasted SELECT -id, v FROM toasted", "CHECKPOINT");
    Set<RelationId> relations = relations();
    Set<Long> databases = databases();
    cluster.stop(Stop.FAST);
    SortedMap<String, String> shown = cluster.digests();
    cluster.unmount();

    StoredCluster stored = cluster.stored();
    assertThat(stored.version().relationMagic()).isEqualTo(KeysVersion.RELATION_KEYS);
    assertThat(stored.version().walMagic()).isEqualTo(KeysVersion.WAL_KEYS);
    assertThat(stored.names())
        .contains("keys_version", "pgveil.seal", "wal_keys", "1663_keys", "1664_providers")
        .doesNotContain("1664_keys", "1663_providers");
    provider(stored, keyBits);
    relationKeys(stored, keyBits, relations, databases);
    walKeys(stored, keyBits);
    seal(stored);

    StoredCluster.Contents contents = stored.check(shown);
    System.out.printf("aes_%d: %s%n", keyBits, contents);
    assertThat(contents.completeSegments()).isGreaterThanOrEqualTo(32 / segmentMegabytes);
    assertThat(contents.walPages()).isGreaterThan(2000);
    assertThat(contents.rawWords()).isPositive();
    assertThat(contents.rawWordsInPages()).isZero();
    assertThat(contents.encryptedPages()).isGreaterThan(3000);

    rotation(stored);
    stored.check(shown);
    cluster.verify();
    if (segmentMegabytes == 1) {
      everyChangeIsSeen(stored, shown);
    }
  }

  private void load() throws SQLException {
    cluster.execute(
        "CREATE TABLE rows (id int PRIMARY KEY, v text NOT NULL)",
        "INSERT INTO rows SELECT g, 'row-' || md5(g::text) FROM generate_series(1, 50000) g",
        "CREATE INDEX rows_v ON rows (v)",
        "CREATE TABLE toasted (id int PRIMARY KEY, v text)",
        "ALTER TABLE toasted ALTER COLUMN v SET STORAGE EXTERNAL",
        "INSERT INTO toasted SELECT g, (SELECT string_agg(md5((1000 * g + i)::text), '')"
            + " FROM generate_series(1, 400) i) FROM generate_series(1, 200) g",
        "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v text)",
        "CREATE SEQUENCE numbers",
        "VACUUM FULL toasted",
        "CREATE TABLE dropped AS SELECT * FROM rows",
        "DROP TABLE dropped");
  }

  /** What SQL says of the relations of the database {@code postgres}, and of the shared ones. */
  private Set<RelationId> relations() throws SQLException {
    String relations =
        "SELECT CASE WHEN c.relisshared THEN 0 ELSE d.oid END || ' ' || CASE c.reltablespace"
            + " WHEN 0 THEN d.dattablespace ELSE c.reltablespace END || ' ' ||"
            + " pg_relation_filenode(c.oid) FROM pg_class c, pg_database d WHERE d.datname ="
            + " current_database() AND pg_relation_filenode(c.oid) IS NOT NULL";
    Set<RelationId> ids = new HashSet<>();
    try (Connection c = cluster.connect("postgres")) {
      for (String row : list(c, relations)) {
        List<Long> parts = Arrays.stream(row.split(" ")).map(Long::valueOf).toList();
        ids.add(new RelationId(parts.get(0), parts.get(1), parts.get(2)));
      }
    }
    return ids;
  }

  /** Those with files: 0 stands for the shared relations. */
  private Set<Long> databases() throws SQLException {
    Set<Long> oids = new HashSet<>(Set.of(0L));
    try (Connection c = cluster.connect("postgres")) {
      list(c, "SELECT oid FROM pg_database").forEach(oid -> oids.add(Long.valueOf(oid)));
    }
    return oids;
  }

  private void provider(StoredCluster stored, int keyBits) throws IOException {
    assertThat(stored.providers().providers())
        .singleElement()
        .satisfies(
            provider -> {
              assertThat(provider.id()).isEqualTo(-1);
              assertThat(provider.name()).isEqualTo("keyring");
              assertThat(provider.type()).isEqualTo(ProviderFile.Type.FILE);
              assertThat(provider.options())
                  .isEqualTo(Map.of("path", cluster.keyring().toString()));
            });
    assertThat(Keyring.read(cluster.keyring()).keys())
        .singleElement()
        .satisfies(
            key -> {
              assertThat(key.name()).isEqualTo("principal-key-1");
              assertThat(key.key().size()).isEqualTo(keyBits / 8);
            });
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(cluster.keyring())))
        .isEqualTo("rw-------");
  }

  private void info(StoredCluster stored, SignedKeyInfo info, long databaseId, String name)
      throws IOException {
    assertThat(info.databaseId()).isEqualTo(databaseId);
    assertThat(info.keyringId()).isEqualTo(-1);
    assertThat(info.name()).isEqualTo(name);
    assertThat(info.seconds()).isBetween(begin.getEpochSecond(), Instant.now().getEpochSecond());
    // looks at the signature
    stored.principalKey(info);
  }

  private void relationKeys(
      StoredCluster stored, int keyBits, Set<RelationId> relations, Set<Long> databases)
      throws IOException {
    RelationKeyFile defaultKey = stored.defaultKey();
    assertThat(defaultKey.version()).isEqualTo(4);
    assertThat(defaultKey.entries()).isEmpty();
    info(stored, StoredCluster.info(defaultKey), DEFAULT, "principal-key-1");

    Map<Long, RelationKeyFile> files = stored.relationKeys();
    assertThat(files.keySet()).isEqualTo(databases);
    Set<RelationId> withKey = new HashSet<>();
    List<Secret> keys = new ArrayList<>();
    Set<Bytes> ivs = new HashSet<>();
    for (RelationKeyFile file : files.values()) {
      assertThat(file.version()).isEqualTo(4);
      assertThat(file.padding().isZero()).isTrue();
      assertThat(file.trailing()).isZero();
      info(stored, StoredCluster.info(file), file.databaseId(), "principal-key-1");
      Secret principalKey = stored.principalKey(StoredCluster.info(file));
      for (RelationKeyFile.Entry entry : file.keys()) {
        assertThat(entry.cipher()).isEqualTo(keyBits == 128 ? 0 : 1);
        assertThat(Bytes.of(tail(entry.wrappedKey(), keyBits / 8)).isZero()).isTrue();
        Secret key = entry.unwrap(principalKey);
        assertThat(key.size()).isEqualTo(keyBits / 8);
        keys.add(key);
        assertThat(ivs.add(entry.baseIv())).isTrue();
        assertThat(ivs.add(entry.entryIv())).isTrue();
        if (file.databaseId() == 0 || file.databaseId() == 5) {
          withKey.add(new RelationId(file.databaseId(), entry.tablespace(), entry.relation()));
        }
      }
    }
    assertThat(keys).doesNotHaveDuplicates();
    assertThat(withKey).isEqualTo(relations);
  }

  private static byte[] tail(Bytes bytes, int from) {
    return Arrays.copyOfRange(bytes.toArray(), from, bytes.size());
  }

  /** A range for each run in which WAL was written: initdb starts twice, this test twice. */
  private void walKeys(StoredCluster stored, int keyBits) throws IOException {
    WalKeyFile file = stored.walKeys();
    assertThat(file.version()).isEqualTo(2);
    assertThat(file.padding().isZero()).isTrue();
    assertThat(file.trailing()).isZero();
    info(stored, StoredCluster.info(file), SERVER, "principal-key-1");
    Secret serverKey = stored.principalKey(StoredCluster.info(file));
    assertThat(file.entries()).hasSize(4);
    List<Secret> keys = new ArrayList<>();
    Set<Bytes> ivs = new HashSet<>();
    WalLocation previous = new WalLocation(1, 0);
    for (WalKeyFile.Entry entry : file.entries()) {
      assertThat(entry.type()).isEqualTo(WalKeyFile.RangeType.ENCRYPTED);
      assertThat(entry.cipher()).isEqualTo(keyBits == 128 ? 0 : 1);
      assertThat(entry.start()).isGreaterThan(previous);
      assertThat(entry.start().lsn() % 8).isZero();
      previous = entry.start();
      keys.add(entry.unwrap(serverKey));
      assertThat(ivs.add(entry.baseIv())).isTrue();
      assertThat(ivs.add(entry.entryIv())).isTrue();
    }
    assertThat(keys).doesNotHaveDuplicates().allMatch(key -> key.size() == keyBits / 8);
  }

  private void seal(StoredCluster stored) throws IOException {
    SealFile seal = stored.seal();
    info(stored, seal.keyInfo(), SERVER, "principal-key-1");
    assertThat(seal.isWholeUnder(stored.principalKey(seal.keyInfo()))).isTrue();
    assertThat(seal.entries())
        .singleElement()
        .satisfies(
            entry -> {
              assertThat(entry.state()).isEqualTo(SealFile.State.ACTIVE);
              assertThat(entry.created())
                  .isBetween(begin.getEpochSecond(), Instant.now().getEpochSecond());
            });
  }

  /** New principal keys: every entry is wrapped anew, and holds what it held. */
  private void rotation(StoredCluster stored) throws Exception {
    Map<RelationId, List<Object>> before = contentOfEntries(stored);
    Set<Bytes> ivsBefore = entryIvs(stored);
    pgveil("key", "create", "principal-key-2", "--provider", "keyring");
    pgveil("key", "set", "principal-key-2", "--provider", "keyring", "--scope", "default");
    pgveil("key", "set", "principal-key-2", "--provider", "keyring", "--scope", "server");
    info(stored, StoredCluster.info(stored.defaultKey()), DEFAULT, "principal-key-2");
    info(stored, StoredCluster.info(stored.walKeys()), SERVER, "principal-key-2");
    info(stored, stored.seal().keyInfo(), SERVER, "principal-key-2");
    for (RelationKeyFile file : stored.relationKeys().values()) {
      info(stored, StoredCluster.info(file), file.databaseId(), "principal-key-2");
    }
    assertThat(contentOfEntries(stored)).isEqualTo(before);
    assertThat(entryIvs(stored)).doesNotContainAnyElementsOf(ivsBefore);
  }

  private void pgveil(Object... arguments) throws Exception {
    List<Object> all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("--dir", cluster.cipher()));
    Pgveil.succeed(all.toArray());
  }

  private static Map<RelationId, List<Object>> contentOfEntries(StoredCluster stored)
      throws IOException {
    Map<RelationId, List<Object>> content = new HashMap<>();
    for (RelationKeyFile file : stored.relationKeys().values()) {
      Secret principalKey = stored.principalKey(StoredCluster.info(file));
      for (RelationKeyFile.Entry entry : file.keys()) {
        content.put(
            new RelationId(file.databaseId(), entry.tablespace(), entry.relation()),
            List.of(entry.unwrap(principalKey), entry.baseIv(), entry.cipher()));
      }
    }
    return content;
  }

  private static Set<Bytes> entryIvs(StoredCluster stored) throws IOException {
    Set<Bytes> ivs = new HashSet<>();
    for (RelationKeyFile file : stored.relationKeys().values()) {
      file.keys().forEach(entry -> ivs.add(entry.entryIv()));
    }
    return ivs;
  }

  /** The check itself can fail: one changed bit anywhere is found. */
  private void everyChangeIsSeen(StoredCluster stored, SortedMap<String, String> shown)
      throws IOException {
    String control = "global/pg_control";
    String segment =
        shown.keySet().stream()
            .filter(p -> p.matches("pg_wal/[0-9A-F]{24}"))
            .findFirst()
            .orElseThrow();
    Map<String, Long> places =
        new TreeMap<>(
            Map.of(
                "base/5/1259",
                8192L + 100,
                segment,
                8192L + 3,
                control,
                4096L + 17,
                "pg_tde/5_keys",
                320L + 96 + 64,
                "pg_tde/pgveil.seal",
                320L + 20));
    for (Map.Entry<String, Long> place : places.entrySet()) {
      Path file = cluster.cipher().resolve(place.getKey());
      flip(file, place.getValue());
      assertThatThrownBy(() -> stored.check(shown)).as(place.getKey()).isNotNull();
      flip(file, place.getValue());
    }
    stored.check(shown);
  }

  private static void flip(Path file, long offset) throws IOException {
    try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
      f.seek(offset);
      int old = f.read();
      f.seek(offset);
      f.write(old ^ 1);
    }
  }
}
