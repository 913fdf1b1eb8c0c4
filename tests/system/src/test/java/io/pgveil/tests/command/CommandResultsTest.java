package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.Posix;
import io.pgveil.reader.Keyring;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.Secret;
import io.pgveil.reader.SignedKeyInfo;
import io.pgveil.reader.WalKeyFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every command that looks at a cluster or manages its keys, with what it must bring about: on the
 * stopped cluster, where it is executed in its own process, and on the mounted one, where the
 * daemon does it. What is in the files is told by the independent reader.
 */
@Tag("system")
@ExtendWith(Installation.class)
class CommandResultsTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String FIRST_KEY = "principal-key-1";

  /** OID of the database postgres. */
  private static final String DATABASE = "5";

  private static @TempDir Path temporary;
  private static Installation.Home home;
  private static UpDirectory cluster;

  /** All that the commands have printed. */
  private static final StringBuilder PRINTED = new StringBuilder();

  @BeforeAll
  static void makeCluster(Installation.Home installation) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: the server has a user of its own");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
    try (Running up = cluster.up(home)) {
      UpDirectory.sql(up, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
      assertThat(up.terminate()).as(up.output()).isZero();
    }
  }

  @AfterAll
  static void theClusterStartsAndHasItsRows() throws Exception {
    if (cluster == null) {
      return;
    }
    try (Running up = cluster.up(home)) {
      assertThat(UpDirectory.sql(up, "SELECT count(*) FROM t")).isEqualTo("1000");
      assertThat(up.terminate()).as(up.output()).isZero();
    } finally {
      cluster.discard();
    }
  }

  private static Command.Result run(String command, Object... more) throws IOException {
    List<Object> arguments = new ArrayList<>(List.of((Object[]) command.split(" ")));
    arguments.addAll(List.of(more));
    Command.Result result = home.run(arguments.toArray());
    PRINTED.append(result.all());
    return result;
  }

  /** Runs a command on the cluster, which must succeed; what it prints. */
  private static String ok(String command) throws IOException {
    Command.Result result = run(command, cluster.root());
    assertThat(result.code()).as("%s: %s", command, result.all()).isZero();
    return result.out();
  }

  private static JsonNode json(String command) throws IOException {
    return JSON.readTree(ok(command));
  }

  private interface Body {
    void run() throws Exception;
  }

  private static void stoppedOrMounted(boolean mounted, Body body) throws Exception {
    if (!mounted) {
      body.run();
      return;
    }
    Path log = temporary.resolve("mount.log");
    try (Running daemon =
        home.command("mount", cluster.cipher(), cluster.mount(), "--log-file", log).start()) {
      daemon.await("pgveil: mounted");
      body.run();
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
      PRINTED.append(daemon.output()).append(Files.readString(log));
    } finally {
      cluster.discard();
    }
  }

  private static WalKeyFile walKeys() throws IOException {
    return WalKeyFile.read(cluster.keys().resolve("wal_keys"));
  }

  private static RelationKeyFile relationKeys() throws IOException {
    return RelationKeyFile.read(cluster.keys().resolve(DATABASE + "_keys"));
  }

  private static Secret key(Path keyring, String name) throws IOException {
    return Keyring.read(keyring).find(name).orElseThrow();
  }

  /** What status or key list say of a scope. */
  private static JsonNode scope(JsonNode scopes, String kind, long oid) {
    for (JsonNode scope : scopes) {
      if (scope.get("scope").asText().equals(kind) && scope.get("oid").asLong() == oid) {
        return scope;
      }
    }
    throw new AssertionError("no " + kind + " " + oid + " in " + scopes);
  }

  private static JsonNode server() throws IOException {
    return scope(json("key list --json").get("keys"), "server", 1664);
  }

  private static JsonNode database() throws IOException {
    return scope(json("key list --json").get("keys"), "database", Long.parseLong(DATABASE));
  }

  // ---- status ----

  @ParameterizedTest(name = "mounted: {0}")
  @ValueSource(booleans = {false, true})
  void statusTellsWhatIsInTheFiles(boolean mounted) throws Exception {
    stoppedOrMounted(
        mounted,
        () -> {
          Secret principal = key(cluster.keyring(), FIRST_KEY);
          int ranges = walKeys().ranges(principal).size();
          int internalKeys = relationKeys().keys().size();
          assertThat(internalKeys).isGreaterThan(100);

          JsonNode status = json("status --json");
          assertThat(status.get("cipherDirectory").asText()).isEqualTo(cluster.cipher().toString());
          assertThat(status.has("mountPoint")).isEqualTo(mounted);
          assertThat(status.has("pid")).isEqualTo(mounted);
          assertThat(status.get("walRanges").asInt()).isEqualTo(ranges);
          assertThat(status.get("walEncrypted").asBoolean()).isTrue();
          assertThat(status.get("warnings")).isEmpty();
          JsonNode database = scope(status.get("scopes"), "database", 5);
          assertThat(database.get("internalKeys").asInt()).isEqualTo(internalKeys);
          for (JsonNode scope :
              List.of(
                  database,
                  scope(status.get("scopes"), "server", 1664),
                  scope(status.get("scopes"), "default", 1663))) {
            assertThat(scope.get("key").asText()).isEqualTo(FIRST_KEY);
            assertThat(scope.get("provider").asText()).isEqualTo("keyring");
          }

          assertThat(ok("status"))
              .contains("cipher directory  " + cluster.cipher() + "\n")
              .contains("mounted           " + (mounted ? "on " + cluster.mount() : "no\n"))
              .contains("WAL               " + ranges + " ranges, the newest encrypted")
              .containsPattern("database 5 +" + FIRST_KEY + " +keyring +\\S+ +" + internalKeys);
        });
  }

  // ---- keys and providers ----

  @ParameterizedTest(name = "mounted: {0}")
  @ValueSource(booleans = {false, true})
  void keysAndProvidersFromTheFirstToTheLastCommand(boolean mounted) throws Exception {
    String name = mounted ? "of-mounted" : "of-stopped";
    Path keyring = cluster.keyring().resolveSibling(name);
    Path moved = cluster.keyring().resolveSibling(name + "-moved");
    stoppedOrMounted(
        mounted,
        () -> {
          assertThat(ok("provider add second file path=" + keyring))
              .startsWith("added key provider second, id -");
          JsonNode second = provider();
          assertThat(second.get("type").asText()).isEqualTo("file");
          assertThat(second.get("options").get("path").asText()).isEqualTo(keyring.toString());
          assertThat(ok("provider list")).containsPattern("second +file +.*" + keyring);

          ok("key create " + name + " --provider second");
          assertThat(key(keyring, name).size()).isEqualTo(16);
          assertThat(server().get("key").asText()).as("not set yet").isEqualTo(FIRST_KEY);

          List<Secret> before = internalKeys(key(cluster.keyring(), FIRST_KEY));
          ok("key set " + name + " --provider second --scope server");
          ok("key set " + name + " --provider second --scope " + DATABASE);
          for (JsonNode scope : List.of(server(), database())) {
            assertThat(scope.get("key").asText()).isEqualTo(name);
            assertThat(scope.get("provider").asText()).isEqualTo("second");
          }
          assertThat(ok("key list")).containsPattern("server +" + name + " +second ");
          for (SignedKeyInfo info : List.of(walKeys().keyInfo(), relationKeys().keyInfo())) {
            assertThat(info.isSignedBy(key(keyring, name))).as(info.toString()).isTrue();
          }
          assertThat(internalKeys(key(keyring, name))).as("wrapped anew").isEqualTo(before);
          assertThat(ok("key verify --scope server")).contains("principal key of the server");
          ok("key verify --scope " + DATABASE);

          Files.move(keyring, moved);
          assertThat(run("key verify --scope server", cluster.root()).code())
              .as("the keyring is gone")
              .isNotZero();
          ok("provider change second file path=" + moved);
          assertThat(provider().get("options").get("path").asText()).isEqualTo(moved.toString());
          ok("key verify --scope server");

          ok("key delete --scope " + DATABASE);
          assertThat(database().get("key").asText()).as("the default").isEqualTo(FIRST_KEY);
          Command.Result inUse = run("provider delete second", cluster.root());
          assertThat(inUse.code()).as(inUse.all()).isEqualTo(ExitCode.KEY_REFUSED.code());
          ok("key set " + FIRST_KEY + " --provider keyring --scope server");
          ok("provider delete second");
          assertThat(ok("provider list")).contains("keyring").doesNotContain("second");
          assertThat(internalKeys(key(cluster.keyring(), FIRST_KEY))).isEqualTo(before);
        });
    noKeyWasPrinted(Map.of(cluster.keyring(), FIRST_KEY, moved, name));
  }

  private static JsonNode provider() throws IOException {
    for (JsonNode provider : json("provider list --json").get("providers")) {
      if (provider.get("name").asText().equals("second")) {
        return provider;
      }
    }
    throw new AssertionError("provider second is not listed");
  }

  private static List<Secret> internalKeys(Secret principal) throws IOException {
    return relationKeys().keys().stream().map(entry -> entry.unwrap(principal)).toList();
  }

  /** Neither principal nor internal keys. */
  private static void noKeyWasPrinted(Map<Path, String> principalKeys) throws IOException {
    Map<String, byte[]> keys = new LinkedHashMap<>();
    for (Map.Entry<Path, String> principal : principalKeys.entrySet()) {
      keys.put(principal.getValue(), key(principal.getKey(), principal.getValue()).toArray());
    }
    for (Secret key : internalKeys(key(cluster.keyring(), FIRST_KEY))) {
      keys.put("internal key " + keys.size(), key.toArray());
    }
    assertThat(PRINTED).isNotEmpty();
    assertThat(new SecretSearch(keys).in(PRINTED.toString())).isEmpty();
  }

  // ---- inspect and verify ----

  @ParameterizedTest(name = "mounted: {0}")
  @ValueSource(booleans = {false, true})
  void inspectTellsWhatAFileIs(boolean mounted) throws Exception {
    stoppedOrMounted(
        mounted,
        () -> {
          assertThat(inspect("base/5/1259"))
              .containsPattern("kind +relation\n")
              .containsPattern("database +5\n")
              .containsPattern("relation +1259\n")
              .contains("internal key", "page");
          assertThat(inspect("pg_wal/" + segment())).containsPattern("kind +WAL segment\n");
          assertThat(inspect("global/pg_control")).containsPattern("kind +sealed file\n");
          assertThat(inspect("pg_tde/5_keys"))
              .containsPattern("kind +key file\n")
              .containsPattern("entries +" + relationKeys().entries().size() + "\n")
              .containsPattern("authentic +yes\n")
              .containsPattern("name +" + FIRST_KEY + "\n");
          Command.Result result = run("inspect --json", cluster.keys().resolve("5_keys"));
          assertThat(JSON.readTree(result.out()).get("header").get("authentic").asText())
              .isEqualTo("yes");
          Command.Result ring = run("inspect", cluster.keyring());
          assertThat(ring.out()).contains("keyring", FIRST_KEY, "16 bytes");
        });
    noKeyWasPrinted(Map.of(cluster.keyring(), FIRST_KEY));
  }

  private static String inspect(String file) throws IOException {
    Command.Result result = run("inspect", cluster.cipher().resolve(file));
    assertThat(result.code()).as(result.all()).isZero();
    return result.out();
  }

  private static String segment() throws IOException {
    try (Stream<Path> files = Files.list(cluster.cipher().resolve("pg_wal"))) {
      return files
          .map(f -> f.getFileName().toString())
          .filter(n -> n.matches("[0-9A-F]{24}"))
          .sorted()
          .findFirst()
          .orElseThrow();
    }
  }

  @Test
  void verifyTellsItsFindingsAsJson() throws Exception {
    JsonNode clean = json("verify --json");
    assertThat(clean.get("mode").asText()).isEqualTo("PGVEIL");
    assertThat(clean.get("findings")).isEmpty();
    assertThat(clean.get("counts").get("KEYS").asInt()).isGreaterThan(100);

    Path file = cluster.cipher().resolve("base/5/1259");
    Path copy = Files.copy(file, temporary.resolve("1259"), StandardCopyOption.COPY_ATTRIBUTES);
    byte[] content = Files.readAllBytes(file);
    content[5000] ^= 1;
    Files.write(file, content);
    Command.Result result = run("verify --json", cluster.root());
    Files.write(file, Files.readAllBytes(copy));
    assertThat(result.code()).isEqualTo(ExitCode.FINDINGS.code());
    JsonNode findings = JSON.readTree(result.out()).get("findings");
    assertThat(findings).hasSize(1);
    assertThat(findings.get(0).get("object").asText()).isEqualTo("base/5/1259");
    assertThat(findings.get(0).get("severity").asText()).isEqualTo("FINDING");
    assertThat(findings.get(0).get("remedy").asText()).isNotEmpty();
    assertThat(json("verify --json").get("findings")).isEmpty();
  }
}
