package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * Everything that can be wrong with what a command is given: it ends with its code, names object,
 * reason and remedy, and changes nothing; when the damage is undone the cluster is, byte for byte,
 * what it was, and in the end it starts and has its rows.
 */
@Tag("system")
@ExtendWith(Installation.class)
class BadInputTest {
  private static final String DOCUMENT_HEADING = "## What can be wrong, and what pgveil says\n";

  private static @TempDir Path temporary;
  private static Installation.Home home;
  private static UpDirectory cluster;
  private static Path scratch;
  private static Path outside;
  private static SortedMap<String, String> original;

  /** Prepares what is wrong and runs the command that has to find it. */
  private interface Action {
    Command.Result run(Bench bench) throws Exception;
  }

  /**
   * @param what is wrong, as docs/errors.md has it
   * @param named the object, as it must be found in the message
   */
  private record Row(String what, ExitCode code, String named, Action action) {}

  @BeforeAll
  static void makeCluster(Installation.Home installation) throws Exception {
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
    scratch = Files.createDirectory(temporary.resolve("scratch"));
    outside = Files.createDirectory(temporary.resolve("outside"));
    try (Running up = cluster.up(home)) {
      UpDirectory.sql(
          up, "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 1000) i");
      assertThat(up.terminate()).isZero();
    }
    original = everything();
  }

  @AfterAll
  static void theClusterStartsAndHasItsRows() throws Exception {
    if (cluster == null) {
      return;
    }
    cluster.discard();
    try (Running up = cluster.up(home)) {
      assertThat(
              UpDirectory.sql(up, "SELECT count(*) || ' ' || min(v) FROM t WHERE v = md5(i::text)"))
          .isEqualTo("1000 00411460f7c92d2124a67ea0f4cb5f85");
      assertThat(up.terminate()).isZero();
    }
  }

  /** All that a failed command must leave as it is. */
  private static SortedMap<String, String> everything() throws IOException {
    SortedMap<String, String> all = new TreeMap<>();
    for (String part : List.of("up/cipher", "up/keyring", "scratch")) {
      Tree.of(temporary.resolve(part)).forEach((path, entry) -> all.put(part + "/" + path, entry));
    }
    return all;
  }

  @TestFactory
  Stream<DynamicTest> everyRow() {
    return rows().stream().map(row -> DynamicTest.dynamicTest(row.what, () -> check(row)));
  }

  private static void check(Row row) throws Exception {
    Bench bench = new Bench(cluster, home, scratch, outside);
    try {
      Command.Result result = row.action.run(bench);
      assertThat(result.code()).as(result.all()).isEqualTo(row.code.code());
      List<String> message =
          result.err().lines().dropWhile(line -> !line.startsWith("pgveil: ")).toList();
      assertThat(message).as(result.err()).hasSizeGreaterThanOrEqualTo(2);
      assertThat(result.err()).contains(row.named).doesNotContain("\tat ", "Exception");
      assertThat(message.getLast()).startsWith("remedy: ").hasSizeGreaterThan(20);
      System.err.println("ROW " + row.what + "\n" + result.err());
    } finally {
      cluster.discard();
      bench.restore();
    }
    assertThat(everything()).as("after the damage was undone").isEqualTo(original);
  }

  /** Runs a command, which must change nothing of what it finds. */
  private static Command.Result unchanged(CommandRun command) throws Exception {
    SortedMap<String, String> before = everything();
    Command.Result result = command.run();
    assertThat(everything()).as("after the command").isEqualTo(before);
    return result;
  }

  private interface CommandRun {
    Command.Result run() throws Exception;
  }

  private static List<Row> rows() {
    List<Row> rows = new ArrayList<>();
    keyrings(rows);
    keyFiles(rows);
    return rows;
  }

  private static void mount(
      List<Row> rows, String what, ExitCode code, Object named, Damage damage) {
    rows.add(
        new Row(
            what,
            code,
            named.toString(),
            bench -> {
              damage.apply(bench);
              return unchanged(bench::mount);
            }));
  }

  private interface Damage {
    void apply(Bench bench) throws Exception;
  }

  private static void keyrings(List<Row> rows) {
    Path keyring = cluster.keyring();
    mount(
        rows,
        "keyring missing",
        ExitCode.KEYRING_MISSING,
        keyring,
        b -> b.move(keyring, keyring.resolveSibling("elsewhere")));
    mount(
        rows,
        "keyring readable by others",
        ExitCode.KEYRING_EXPOSED,
        keyring,
        b -> b.mode(keyring, "rw-r--r--"));
    mount(
        rows,
        "keyring writable by the group",
        ExitCode.KEYRING_EXPOSED,
        keyring,
        b -> b.mode(keyring, "rw--w----"));
    mount(
        rows,
        "keyring of another cluster, with a key of the same name",
        ExitCode.PRINCIPAL_KEY_WRONG,
        "principal-key-1",
        b -> b.replace(keyring, otherKeyring(b, "principal-key-1")));
    mount(
        rows,
        "keyring of another cluster, without a key of that name",
        ExitCode.PRINCIPAL_KEY_NOT_FOUND,
        "principal-key-1",
        b -> b.replace(keyring, otherKeyring(b, "another")));
    mount(
        rows,
        "keyring empty",
        ExitCode.PRINCIPAL_KEY_NOT_FOUND,
        "principal-key-1",
        b -> b.replace(keyring, new byte[0]));
    mount(rows, "keyring truncated", ExitCode.KEYRING_DAMAGED, keyring, b -> b.cutOff(keyring, 1));
    mount(
        rows,
        "keyring garbled",
        ExitCode.PRINCIPAL_KEY_WRONG,
        "principal-key-1",
        b -> b.garble(keyring, 280, 1));
  }

  private static byte[] otherKeyring(Bench b, String key) throws Exception {
    Path other = Files.createDirectory(outside.resolve("other"));
    try {
      Path keyring = other.resolve("keyring");
      Command.Result made =
          b.pgveil("init", other.resolve("c"), "--keyring", keyring, "--key", key);
      assertThat(made.code()).as(made.all()).isZero();
      return Files.readAllBytes(keyring);
    } finally {
      Installation.deleteTree(other);
    }
  }

  private static void keyFiles(List<Row> rows) {
    for (String name :
        List.of(
            "5_keys",
            "0_keys",
            "wal_keys",
            "1663_keys",
            "1664_providers",
            "keys_version",
            "pgveil.seal")) {
      Path file = cluster.keys().resolve(name);
      ExitCode damaged =
          name.equals("pgveil.seal") ? ExitCode.SEAL_DAMAGED : ExitCode.KEY_FILE_DAMAGED;
      mount(rows, name + " truncated", damaged, file, b -> b.cutOff(file, 1));
      mount(rows, name + " empty", damaged, file, b -> b.replace(file, new byte[0]));
      mount(
          rows,
          name + " garbled",
          damaged,
          file,
          b -> b.garble(file, (int) Files.size(file) / 2, 0x10));
      for (int i = 0; i < 8; i++) {
        int k = i;
        mount(
            rows,
            name + " of an unknown version" + k,
            ExitCode.VERSION_UNKNOWN,
            file,
            b -> b.garble(file, k, 0x40));
      }
      mount(rows, name + " missing", damaged, file, b -> b.move(file, outside.resolve(name)));
    }
    for (String name : List.of("global/pg_control", "PG_VERSION")) {
      Path file = cluster.cipher().resolve(name);
      mount(rows, name + " truncated", ExitCode.SEALED_FILE_DAMAGED, file, b -> b.cutOff(file, 1));
      mount(
          rows,
          name + " empty",
          ExitCode.SEALED_FILE_DAMAGED,
          file,
          b -> b.replace(file, new byte[0]));
      for (int i = 0; i < 128; i += 16) {
        int k = i;
        mount(
            rows,
            name + " garbled" + k,
            ExitCode.SEALED_FILE_DAMAGED,
            file,
            b -> b.garble(file, k, 0x40));
      }
      mount(
          rows,
          name + " garbled bytes",
          ExitCode.SEALED_FILE_DAMAGED,
          file,
          b -> b.garble(file, (int) Files.size(file) - 1, 0x40));
      mount(
          rows,
          name + " missing",
          ExitCode.SEALED_FILE_DAMAGED,
          file,
          b -> b.move(file, outside.resolve("gone")));
    }
  }
}
