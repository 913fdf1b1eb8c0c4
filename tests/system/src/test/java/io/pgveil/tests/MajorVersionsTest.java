package io.pgveil.tests;

import static io.pgveil.tests.support.TestCluster.execute;
import static io.pgveil.tests.support.TestCluster.list;
import static io.pgveil.tests.support.TestCluster.query;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.postgres.PostgresServer.Stop;
import io.pgveil.linux.Posix;
import io.pgveil.reader.RelationFile;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.Secret;
import io.pgveil.reader.SignedKeyInfo;
import io.pgveil.reader.WalKeyFile;
import io.pgveil.tests.support.Clusters;
import io.pgveil.tests.support.Postgres;
import io.pgveil.tests.support.StoredCluster;
import io.pgveil.tests.support.StoredCluster.RelationId;
import io.pgveil.tests.support.TestCluster;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What PostgreSQL does to its files, in every major version, on an encrypted data directory. */
@Tag("system")
class MajorVersionsTest {
  /** The first 8 bytes of a sealed file. */
  private static final String SEALED = "5047565345414c01";

  /** What each table holds, for comparison before and after. */
  private static final Map<String, String> DIGESTS =
      new TreeMap<>(
          Map.of(
              "rows", "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM rows",
              "rows by index", "SELECT count(*) || min(v) || max(v) FROM rows WHERE v > 'row-8'",
              "toasted", "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM toasted",
              "sequence", "SELECT last_value FROM numbers",
              "large object", "SELECT md5(lo_get(4711))"));

  @RegisterExtension final Clusters clusters = new Clusters();
  @TempDir Path root;
  private TestCluster cluster;

  @ParameterizedTest(name = "PostgreSQL {0}, aes_{1}")
  @CsvSource({"14, 128", "15, 256", "16, 128", "17, 256", "18, 128"})
  @Timeout(value = 4, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void everythingThatPostgresDoesToFiles(int major, int keyBits) throws Exception {
    cluster = clusters.mounted(root, Postgres.major(major), keyBits);
    cluster.initdb();
    cluster.start();
    assertThat(cluster.query("SHOW data_checksums")).isEqualTo("on");
    load();
    SortedMap<String, String> content = content();

    temporaryFilesAreEncrypted();
    restart(content);
    vacuumFull(content);
    databases(major);
    tablespaces();
    backendCrash(content);
    immediateStop(content);
    killEverything(content);

    amcheck();
    cluster.stop(Stop.FAST);
    SortedMap<String, String> shown = cluster.digests();
    cluster.unmount();
    StoredCluster.Contents contents = cluster.stored().check(shown);
    System.out.printf("PostgreSQL %d: %s%n", major, contents);
    assertThat(contents.encryptedPages()).isGreaterThan(3000);
    assertThat(contents.completeSegments()).isPositive();
    assertThat(contents.sealedFiles()).isGreaterThan(10);
    cluster.verify();
  }

  private void load() throws SQLException {
    cluster.execute(
        "CREATE TABLE rows (id int PRIMARY KEY, v text NOT NULL)",
        "INSERT INTO rows SELECT g, 'row-' || md5(g::text) FROM generate_series(1, 20000) g",
        "CREATE INDEX rows_v ON rows (v)",
        "CREATE TABLE toasted (id int PRIMARY KEY, v text)",
        "ALTER TABLE toasted ALTER COLUMN v SET STORAGE EXTERNAL",
        "INSERT INTO toasted SELECT g, (SELECT string_agg(md5((1000 * g + i)::text), '')"
            + " FROM generate_series(1, 400) i) FROM generate_series(1, 100) g",
        "CREATE SEQUENCE numbers",
        "SELECT setval('numbers', 41)",
        "SELECT lo_from_bytea(4711, decode(repeat('ab12', 50000), 'hex'))",
        "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v text)",
        "CREATE INDEX unlogged_v ON unlogged (v)",
        "INSERT INTO unlogged SELECT g, 'unlogged-' || g FROM generate_series(1, 1000) g",
        "CHECKPOINT");
  }

  private SortedMap<String, String> content() throws SQLException {
    SortedMap<String, String> content = new TreeMap<>();
    try (Connection c = cluster.connect("postgres")) {
      // the index alone must give the same answer
      execute(c, "SET enable_seqscan = off");
      for (Map.Entry<String, String> digest : DIGESTS.entrySet()) {
        content.put(digest.getKey(), query(c, digest.getValue()));
      }
    }
    return content;
  }

  /** A temporary table and the file of a sort, while they are in use. */
  private void temporaryFilesAreEncrypted() throws Exception {
    try (Connection c = cluster.connect("postgres")) {
      execute(
          c,
          "SET temp_buffers = '800kB'",
          "CREATE TEMP TABLE temporary (id int PRIMARY KEY, v text)",
          "INSERT INTO temporary SELECT g, 'temporary-' || md5(g::text)"
              + " FROM generate_series(1, 20000) g",
          "SET work_mem = '64kB'");
      c.setAutoCommit(false);
      execute(
          c,
          "DECLARE spilled CURSOR FOR SELECT 'spilled-' || v FROM rows ORDER BY 1",
          "FETCH 1 FROM spilled");
      cluster.sync();
      String temporary = query(c, "SELECT pg_relation_filepath('temporary')");
      assertThat(temporary).matches("base/[0-9]+/t[0-9]+_[0-9]+");
      hidden(temporary, "temporary-");

      List<String> spillFiles = files("base/pgsql_tmp");
      assertThat(spillFiles).isNotEmpty();
      for (String file : spillFiles) {
        hidden(file, "spilled-");
        byte[] header = Files.readAllBytes(cluster.cipher().resolve(file));
        assertThat(HexFormat.of().formatHex(header, 0, 8)).isEqualTo(SEALED);
        // of this daemon's session: no key on disk opens it
        assertThat(cluster.stored().seal().entries())
            .extracting(entry -> entry.keyId().toString())
            .doesNotContain(HexFormat.of().formatHex(header, 32, 48));
      }
      assertThat(list(c, "FETCH ALL FROM spilled")).hasSize(19_999).isSorted();
      assertThat(query(c, "SELECT count(DISTINCT v) FROM temporary")).isEqualTo("20000");
      c.rollback();
      assertThat(files("base/pgsql_tmp")).isEmpty();
    }
  }

  /** The mount shows the words, the cipher directory does not. */
  private void hidden(String file, String words) throws IOException {
    assertThat(bytes(cluster.mountPoint().resolve(file)).contains(words)).as(file).isTrue();
    String stored = bytes(cluster.cipher().resolve(file));
    assertThat(stored.length()).as(file).isPositive();
    assertThat(stored.contains(words)).as(file).isFalse();
  }

  private static String bytes(Path file) throws IOException {
    return new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
  }

  private List<String> files(String directory) throws IOException {
    try (Stream<Path> files = Files.list(cluster.cipher().resolve(directory))) {
      return files.map(file -> cluster.cipher().relativize(file).toString()).sorted().toList();
    }
  }

  private void restart(SortedMap<String, String> content) throws Exception {
    int before = walRanges();
    cluster.restart();
    assertThat(content()).isEqualTo(content);
    // unlogged tables outlive a clean stop
    assertThat(cluster.query("SELECT count(*) FROM unlogged")).isEqualTo("1000");
    writeWal();
    assertThat(walRanges()).as("WAL ranges").isEqualTo(before + 1);
  }

  private void writeWal() throws SQLException {
    cluster.execute("SELECT pg_logical_emit_message(false, 'test', 'message')", "CHECKPOINT");
  }

  private int walRanges() throws IOException {
    return (int)
        cluster.stored().walKeys().entries().stream().filter(WalKeyFile.Entry::isLoaded).count();
  }

  private void vacuumFull(SortedMap<String, String> content) throws Exception {
    RelationId before = relation("rows");
    Secret key = cluster.stored().internalKey(before).orElseThrow();
    cluster.execute("VACUUM FULL rows", "CHECKPOINT");
    RelationId after = relation("rows");
    assertThat(after).isNotEqualTo(before);
    assertThat(cluster.stored().internalKey(after)).isPresent().get().isNotEqualTo(key);
    TestCluster.await(
        "the key of a relation that is gone is dropped",
        () -> cluster.stored().internalKey(before).isEmpty());
    assertThat(content()).isEqualTo(content);
  }

  private RelationId relation(String name) throws SQLException {
    return RelationId.of(
        RelationFile.parse(cluster.query("SELECT pg_relation_filepath('" + name + "')"))
            .orElseThrow());
  }

  private void databases(int major) throws Exception {
    List<String> strategies =
        major == 14 ? List.of("") : List.of(" STRATEGY file_copy", " STRATEGY wal_log");
    for (String strategy : strategies) {
      cluster.execute("CREATE DATABASE copy TEMPLATE postgres" + strategy);
      long oid =
          Long.parseLong(cluster.query("SELECT oid FROM pg_database WHERE datname = 'copy'"));
      try (Connection copy = cluster.connect("copy")) {
        assertThat(query(copy, DIGESTS.get("rows"))).isEqualTo(content().get("rows"));
        assertThat(query(copy, DIGESTS.get("large object")))
            .isEqualTo(content().get("large object"));
        execute(copy, "CREATE TABLE own AS SELECT generate_series(1, 100) AS id", "CHECKPOINT");
      }
      RelationKeyFile keys = cluster.stored().relationKeys(oid);
      SignedKeyInfo info = StoredCluster.info(keys);
      assertThat(info.name()).isEqualTo(StoredCluster.info(cluster.stored().defaultKey()).name());
      Secret principalKey = cluster.stored().principalKey(info);
      assertThat(keys.keys()).hasSizeGreaterThan(200);
      // what is copied as a file has a key of its own too
      RelationKeyFile original =
          cluster
              .stored()
              .relationKeys(
                  Long.parseLong(
                      cluster.query("SELECT oid FROM pg_database WHERE datname = 'postgres'")));
      List<Secret> originals = new ArrayList<>();
      for (RelationKeyFile.Entry entry : original.keys()) {
        originals.add(entry.unwrap(cluster.stored().principalKey(StoredCluster.info(original))));
      }
      assertThat(keys.keys())
          .extracting(entry -> entry.unwrap(principalKey))
          .doesNotHaveDuplicates()
          .doesNotContainAnyElementsOf(originals);

      cluster.execute("DROP DATABASE copy", "CHECKPOINT");
      Path keyFile = cluster.stored().relationKeyPath(oid);
      TestCluster.await("the keys of a dropped database go", () -> Files.notExists(keyFile));
      assertThat(cluster.cipher().resolve("base").resolve("" + oid)).doesNotExist();
    }
  }

  private void tablespaces() throws Exception {
    Path outside = Files.createDirectory(root.resolve("outside"));
    cluster.runAs().own(outside);
    assertThatThrownBy(() -> cluster.execute("CREATE TABLESPACE clear LOCATION '" + outside + "'"))
        .isInstanceOf(SQLException.class)
        .hasMessageContaining("Operation not permitted");
    assertThat(
            cluster.logLines(line -> line.contains("ERROR") && line.contains(outside.toString())))
        .singleElement()
        .asString()
        .contains("is refused", "in the clear", "allow_in_place_tablespaces");
    try (Stream<Path> files = Files.walk(outside)) {
      assertThat(files.filter(Files::isRegularFile)).isEmpty();
    }

    try (Connection c = cluster.connect("postgres")) {
      execute(
          c,
          "SET allow_in_place_tablespaces = on",
          "CREATE TABLESPACE inside LOCATION ''",
          "CREATE TABLE spaced (id int PRIMARY KEY, v text) TABLESPACE inside",
          "INSERT INTO spaced SELECT id, 'spaced-' || v FROM rows",
          "CREATE INDEX spaced_v ON spaced (v) TABLESPACE inside",
          "CREATE DATABASE spaced TEMPLATE template0 TABLESPACE inside",
          "ALTER INDEX rows_v SET TABLESPACE inside",
          "CHECKPOINT");
      for (String name : List.of("spaced", "spaced_v", "rows_v")) {
        RelationId relation = relation(name);
        assertThat(relation.tablespace()).isGreaterThanOrEqualTo(16384);
        assertThat(cluster.stored().internalKey(relation)).as(name).isPresent();
      }
      cluster.sync();
      hidden(query(c, "SELECT pg_relation_filepath('spaced')"), "spaced-");
    }
    try (Connection c = cluster.connect("spaced")) {
      execute(c, "CREATE TABLE t AS SELECT 7 AS id");
    }
  }

  /** kill -9 of one backend: the postmaster ends the others and recovers. */
  private void backendCrash(SortedMap<String, String> content) throws Exception {
    fillUnlogged();
    int before = walRanges();
    try (Connection victim = cluster.connect("postgres");
        Connection witness = cluster.connect("postgres")) {
      execute(victim, "CREATE TABLE crashed AS SELECT generate_series(1, 1000) AS id");
      int pid = Integer.parseInt(query(victim, "SELECT pg_backend_pid()"));
      CompletableFuture<Void> ended =
          CompletableFuture.runAsync(
              () ->
                  assertThatThrownBy(() -> execute(witness, "SELECT pg_sleep(60)"))
                      .isInstanceOf(SQLException.class));
      assertThat(Posix.kill(pid, 9)).isZero();
      ended.get(1, TimeUnit.MINUTES);
    }
    long postmaster = cluster.server().pid();
    cluster.awaitReinitialised();
    assertThat(cluster.server().pid()).isEqualTo(postmaster);
    assertThat(cluster.query("SELECT count(*) FROM crashed")).isEqualTo("1000");
    writeWal();
    assertThat(walRanges()).as("WAL ranges").isEqualTo(before + 1);
    afterCrash(content);
  }

  private void immediateStop(SortedMap<String, String> content) throws Exception {
    fillUnlogged();
    cluster.execute(
        "CREATE TABLE stopped AS SELECT generate_series(1, 1000) AS id",
        "INSERT INTO spaced SELECT -id, v FROM rows WHERE id <= 500");
    cluster.stop(Stop.IMMEDIATE);
    cluster.start();
    assertThat(cluster.query("SELECT count(*) FROM stopped")).isEqualTo("1000");
    assertThat(cluster.query("SELECT count(*) FROM spaced")).isEqualTo("20500");
    afterCrash(content);
  }

  /** kill -9 of the daemon and the server under load: every row that was acknowledged is there. */
  private void killEverything(SortedMap<String, String> content) throws Exception {
    fillUnlogged();
    cluster.execute("CREATE TABLE acknowledged (id int PRIMARY KEY, v text)");
    AtomicInteger acknowledged = new AtomicInteger();
    CountDownLatch enough = new CountDownLatch(300);
    Thread writer = Thread.ofPlatform().start(() -> write(acknowledged, enough));
    assertThat(enough.await(1, TimeUnit.MINUTES)).isTrue();
    cluster.killEverything();
    writer.join();

    assertThat(cluster.mount()).as("output of the daemon").contains("that a daemon has left");
    cluster.start();
    int rows = acknowledged.get();
    assertThat(cluster.query("SELECT count(*) FROM acknowledged WHERE id <= " + rows))
        .isEqualTo("" + rows);
    assertThat(cluster.query("SELECT max(id) <= " + (rows + 1) + " FROM acknowledged"))
        .isEqualTo("t");
    afterCrash(content);
  }

  private void write(AtomicInteger acknowledged, CountDownLatch enough) {
    try (Connection c = cluster.connect("postgres");
        PreparedStatement insert =
            c.prepareStatement("INSERT INTO acknowledged VALUES (?, repeat(md5(?::text), 30))")) {
      for (int id = 1; ; id++) {
        insert.setInt(1, id);
        insert.setInt(2, id);
        insert.execute();
        acknowledged.set(id);
        enough.countDown();
      }
    } catch (SQLException e) {
      // it was killed
    }
  }

  private void fillUnlogged() throws SQLException {
    cluster.execute(
        "TRUNCATE unlogged",
        "INSERT INTO unlogged SELECT g, 'unlogged-' || g FROM generate_series(1, 1000) g");
  }

  /** Unlogged tables are empty, but they and their indexes can be used. */
  private void afterCrash(SortedMap<String, String> content) throws SQLException {
    assertThat(content()).isEqualTo(content);
    try (Connection c = cluster.connect("postgres")) {
      assertThat(query(c, "SELECT count(*) FROM unlogged")).isEqualTo("0");
      execute(
          c,
          "INSERT INTO unlogged SELECT g, 'again-' || g FROM generate_series(1, 1000) g",
          "SET enable_seqscan = off");
      assertThat(query(c, "SELECT id FROM unlogged WHERE v = 'again-77'")).isEqualTo("77");
      assertThat(query(c, "SELECT v FROM unlogged WHERE id = 78")).isEqualTo("again-78");
    }
  }

  private void amcheck() throws SQLException {
    try (Connection c = cluster.connect("postgres")) {
      execute(c, "CREATE EXTENSION amcheck");
      assertThat(
              Integer.parseInt(
                  query(
                      c,
                      "SELECT count(bt_index_check(c.oid, true)) FROM pg_class c JOIN pg_am a ON"
                          + " a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i' AND"
                          + " c.relpersistence <> 't'")))
          .isGreaterThan(100);
      assertThat(
              list(
                  c,
                  "SELECT c.relname || ': ' || v.msg FROM pg_class c, verify_heapam(c.oid) v"
                      + " WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence <> 't'"))
          .isEmpty();
    }
  }
}
