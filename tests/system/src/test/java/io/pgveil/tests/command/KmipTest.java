package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import io.pgveil.tests.support.PyKmip;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** A cluster whose principal keys are in a real PyKMIP. */
@Tag("system")
@ExtendWith(Installation.class)
class KmipTest {
  private static final String DIGEST = "SELECT md5(string_agg(t::text, ',' ORDER BY i)) FROM t";

  @TempDir Path temporary;
  private Installation.Home home;
  private UpDirectory cluster;
  private PyKmip server;

  /** What every command has printed. */
  private final StringBuilder printed = new StringBuilder();

  @BeforeEach
  void makeServer(Installation.Home installation) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: mounts, and a server of another user");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
    server = PyKmip.start(Files.createDirectory(temporary.resolve("server")));
  }

  @AfterEach
  void discard() throws Exception {
    if (server != null) {
      server.close();
    }
    if (cluster != null) {
      cluster.discard();
    }
  }

  private Command.Result pgveil(Object... arguments) throws Exception {
    Command.Result result = home.run(arguments);
    printed.append(result.out()).append(result.err());
    return result;
  }

  private Command.Result here(String command) throws Exception {
    return pgveil((Object[]) (command + " " + cluster.root()).split(" "));
  }

  private void succeed(String command) throws Exception {
    Command.Result done = here(command);
    assertThat(done.code()).as(done.all()).isZero();
  }

  private int stop(Running up) throws Exception {
    int code = up.terminate();
    printed.append(up.output());
    return code;
  }

  @Test
  void aClusterLivesWithItsKeysInAKmipServer() throws Exception {
    List<Object> first = new ArrayList<>(server.firstProvider());
    first.addAll(List.of("--key", "billing-1"));
    String rows;
    try (Running up = cluster.up(home, first.toArray())) {
      assertThat(up.output())
          .contains("principal key billing-1 in kmip host=127.0.0.1")
          .contains("LOSING THE KEYS LOSES THE DATA");
      UpDirectory.sql(
          up, "CREATE TABLE t AS SELECT i, 'row ' || i AS a FROM generate_series(1, 20000) i");
      succeed("key create billing-2 --provider kmip");
      succeed("key set billing-2 --provider kmip --scope default");
      succeed("key verify --scope server");
      UpDirectory.sql(up, "INSERT INTO t SELECT i, 'more' FROM generate_series(20001, 21000) i");
      rows = UpDirectory.sql(up, DIGEST);

      // retired: in use it stays, set again it is not
      String id = server.find("billing-2").getFirst().id();
      server.client("activate", id);
      server.client("revoke", id, "CESSATION_OF_OPERATION");
      Command.Result set = here("key set billing-2 --provider kmip --scope server");
      assertThat(set.code()).as(set.all()).isEqualTo(28);
      assertThat(set.err()).contains("\"billing-2\"", "the key is Deactivated there");

      // what is in memory goes on without the server, what is not says who does not answer
      server.stop();
      UpDirectory.sql(up, "CREATE TABLE u AS SELECT * FROM t");
      UpDirectory.sql(up, "CHECKPOINT");
      assertThat(UpDirectory.sql(up, DIGEST)).isEqualTo(rows);
      Command.Result verify = here("key verify --scope server");
      assertThat(verify.code()).as(verify.all()).isEqualTo(26);
      assertThat(verify.err())
          .contains("\"billing-2\"", "\"kmip\"", "127.0.0.1:" + server.port(), "cannot connect");
      assertThat(stop(up)).as(up.output()).isZero();
    }

    Command.Result down = pgveil("up", cluster.root(), "--provider-wait", "0");
    assertThat(down.code()).as(down.all()).isEqualTo(26);
    assertThat(cluster.isMounted()).isFalse();

    try (Running up =
        home.command("up", cluster.root(), "--provider-wait", "100")
            .start()
            .await("waiting up to PT1M40S")) {
      server.startAgain();
      up.await(UpDirectory.READY);
      assertThat(UpDirectory.sql(up, DIGEST)).isEqualTo(rows);
      lookForSecrets(up);
      assertThat(stop(up)).as(up.output()).isZero();
    }
  }

  @Test
  void aKeyMovesFromAKeyringToAKmipServerAndBack() throws Exception {
    String move = "key move principal-key-1 --from ";
    String rows;
    try (Running up = cluster.up(home, "--port", UpDirectory.freePort())) {
      UpDirectory.sql(up, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 99) i");
      rows = UpDirectory.sql(up, DIGEST);
      List<Object> add = new ArrayList<>(List.of("provider", "add", "kmip", "kmip"));
      server.options().forEach(add::add);
      add.add(cluster.root());
      assertThat(pgveil(add.toArray()).code()).as(printed.toString()).isZero();
      succeed(move + "keyring --to kmip");
      assertThat(stop(up)).as(up.output()).isZero();
    }
    Files.delete(cluster.keyring());
    try (Running up = cluster.up(home)) {
      assertThat(UpDirectory.sql(up, DIGEST)).isEqualTo(rows);
      assertThat(stop(up)).as(up.output()).isZero();
    }
    succeed("provider add back file path=" + cluster.keyring());
    succeed(move + "kmip --to back");
    // a second time the server has the key already, with the same bytes
    succeed(move + "back --to kmip");
    succeed(move + "kmip --to back");
    server.stop();
    try (Running up = cluster.up(home)) {
      assertThat(UpDirectory.sql(up, DIGEST)).isEqualTo(rows);
      assertThat(stop(up)).as(up.output()).isZero();
    }
  }

  /** Keys and the private key are in the server and in its file, and nowhere else. */
  private void lookForSecrets(Running up) throws Exception {
    byte[] key = HexFormat.of().parseHex(server.find("billing-2").getFirst().key());
    String pem = Files.readAllLines(server.file("client.key")).get(1);
    SecretSearch search = new SecretSearch(Map.of("key", key), Map.of("private key", pem));
    assertThat(search.below(cluster.cipher())).as("cipher directory").isEmpty();
    assertThat(search.below(cluster.root().resolve("log"))).as("logs").isEmpty();
    assertThat(search.below(cluster.mount().resolve("log"))).as("PostgreSQL's logs").isEmpty();
    assertThat(search.inProcessList()).as("process list").isEmpty();
    assertThat(search.in(printed + up.output())).as("output and errors").isEmpty();
    // controls: each search finds what is there
    assertThat(search.in(server.file("client.key"))).as("control").contains("private key");
    Files.write(cluster.cipher().resolve("leak"), key);
    assertThat(search.below(cluster.cipher())).as("control").anyMatch(s -> s.contains("leak: key"));
    Files.delete(cluster.cipher().resolve("leak"));
  }

  @Test
  void badCredentialsAndKeysHaveTheirExitCodes() throws Exception {
    Command.Result made = init(cluster.cipher());
    assertThat(made.code()).as(made.all()).isZero();
    assertThat(made.out()).contains("the principal keys are in kmip ");
    Files.createDirectories(cluster.mount());

    // of two clusters with one name for their keys the second is refused
    Command.Result second = init(temporary.resolve("second"));
    assertThat(second.code()).as(second.all()).isEqualTo(28);
    assertThat(second.err()).contains("principal-key-1").contains("already exists");

    Path key = server.file("client.key");
    Files.setPosixFilePermissions(key, PosixFilePermissions.fromString("rw-r-----"));
    assertMount(21, "private key file \"" + key + "\" is refused: its mode 0640");
    Path inside = Files.move(key, cluster.cipher().resolve("key"));
    Files.createSymbolicLink(key, inside);
    assertMount(22, "private key file \"" + key + "\" is refused: it lies in the cipher directory");
    Files.delete(key);
    assertMount(29, "Failed to open private key file " + key);
    Files.move(inside, key);
    Files.setPosixFilePermissions(key, PosixFilePermissions.fromString("rw-------"));

    PyKmip.Found right = server.find("principal-key-1").getFirst();
    String other = server.client("register", "principal-key-1", "00".repeat(16));
    assertMount(29, "several keys have the name \"principal-key-1\"", other);
    server.client("destroy", right.id());
    assertMount(25, "principal-key-1");
    server.client("destroy", other);
    assertMount(24, "principal-key-1");
    String bad = server.client("register", "principal-key-1", "00".repeat(24));
    assertMount(23, "invalid key size: 24 bytes");
    server.client("destroy", bad);
    server.client("register", "principal-key-1", right.key());
    try (Running daemon =
        home.command("mount", cluster.cipher(), cluster.mount(), "--log-file", cluster.log())
            .start()
            .await("pgveil: mounted")) {
      assertThat(stop(daemon)).as(daemon.output()).isZero();
    }
  }

  private Command.Result init(Path cipher) throws Exception {
    List<Object> arguments = new ArrayList<>(List.of("init", cipher));
    arguments.addAll(server.firstProvider());
    return pgveil(arguments.toArray());
  }

  private void assertMount(int code, String... texts) throws Exception {
    Command.Result result =
        pgveil("mount", cluster.cipher(), cluster.mount(), "--log-file", cluster.log());
    assertThat(result.code()).as(result.all()).isEqualTo(code);
    assertThat(result.err()).contains(texts).contains("remedy: ");
  }
}
