package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.linux.Posix;
import io.pgveil.tests.Project;
import io.pgveil.tests.support.OpenBao;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
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
  private static final String HEADING = "## What can be wrong, and what pgveil says\n";
  private static final String KEY = "principal-key-1";

  /** Runs the rest of the command line with /dev/fuse as an ordinary system does not have it. */
  private static final String WITHOUT_DEVICE =
      """
      d=$(mktemp -d) && mount -t tmpfs -o mode=755 dev $d
      for n in null zero full random urandom; do cp -a /dev/$n $d; done
      mount --move $d /dev && rmdir $d && exec "$@"
      """;

  private static final String WITH_CLOSED_DEVICE =
      """
      d=$(mktemp -d) && mount -t tmpfs fuse $d && mknod -m 0600 $d/fuse c 10 229
      mount --bind $d/fuse /dev/fuse && umount -l $d && rmdir $d && exec "$@"
      """;

  /** No JDK in the usual places; only one on the PATH, which is too old. */
  private static final String WITH_OLD_JDK =
      """
      old=$1; shift
      for d in /usr/lib/jvm /usr/java /opt; do [ ! -d $d ] || mount -t tmpfs none $d; done
      unset JAVA_HOME; HOME=/nonexistent PATH=$old/bin:/usr/bin:/bin exec "$@"
      """;

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

  /** Makes something wrong. */
  private interface Damage {
    void apply(Bench bench) throws Exception;
  }

  /**
   * @param what is wrong, as docs/errors.md has it
   * @param command that finds it
   * @param named the object, as it must be found in the message
   */
  private record Row(String what, String command, ExitCode code, Object named, Action action) {
    String inDocument() {
      return "| %s | %s | %d | %s |".formatted(what, command, code.code(), code.label());
    }
  }

  @BeforeAll
  static void makeCluster(Installation.Home installation) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: mounts, other users, namespaces");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
    scratch = Files.createDirectory(temporary.resolve("scratch"));
    outside = Files.createDirectory(temporary.resolve("outside"));
    try (Running up = cluster.up(home)) {
      UpDirectory.sql(
          up, "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 1000) i");
      assertThat(up.terminate()).as(up.output()).isZero();
    }
    original = everything();
  }

  @AfterAll
  static void theClusterStartsAndHasItsRows() throws Exception {
    if (original == null) {
      return;
    }
    try (Running up = cluster.up(home)) {
      assertThat(UpDirectory.sql(up, "SELECT count(*) FROM t WHERE v = md5(i::text)"))
          .isEqualTo("1000");
      assertThat(up.terminate()).as(up.output()).isZero();
    } finally {
      cluster.discard();
    }
  }

  /** All that a failed command must leave as it is. */
  private static SortedMap<String, String> everything() throws IOException {
    SortedMap<String, String> all = new TreeMap<>();
    for (String part : List.of("up/cipher", "up/keyring", "up/up.json", "up/pgpass", "scratch")) {
      Tree.of(temporary.resolve(part)).forEach((path, entry) -> all.put(part + "/" + path, entry));
    }
    return all;
  }

  @TestFactory
  Stream<DynamicTest> nothingIsLostAndTheMessageHelps() {
    return rows().stream()
        .map(row -> DynamicTest.dynamicTest(row.what + ": " + row.command, () -> check(row)));
  }

  private static void check(Row row) throws Exception {
    Bench bench = new Bench(cluster, home, scratch, outside);
    try {
      Command.Result result = row.action.run(bench);
      assertMessage(row, result);
    } finally {
      cluster.discard();
      bench.restore();
    }
    assertThat(Tree.difference(original, everything()))
        .as("%s: after the damage was undone", row.what)
        .isEmpty();
  }

  private static void assertMessage(Row row, Command.Result result) {
    assertThat(result.code()).as("%s: %s", row.what, result.all()).isEqualTo(row.code.code());
    List<String> message =
        result.err().lines().dropWhile(line -> !line.startsWith("pgveil: ")).toList();
    assertThat(message).as("%s: %s", row.what, result.all()).hasSizeGreaterThanOrEqualTo(2);
    assertThat(result.err())
        .as(row.what)
        .contains(row.named.toString())
        .contains("\nremedy: ")
        .doesNotContain("\tat ", "Exception");
  }

  @Test
  void theDocumentHasTheSameRows() throws Exception {
    String document = Files.readString(Path.of(Project.root().toString(), "docs/errors.md"));
    String rows =
        Stream.concat(rows().stream(), runningRows().stream())
            .map(Row::inDocument)
            .distinct()
            .collect(Collectors.joining("\n"));
    assertThat(document).contains(HEADING).endsWith("| --- | --- | ---: | --- |\n" + rows + "\n");
  }

  // ---- the table ----

  private static List<Row> rows() {
    List<Row> rows = new ArrayList<>();
    keyrings(rows);
    keyFiles(rows);
    sealedFiles(rows);
    directories(rows);
    mountPoints(rows);
    keyCommands(rows);
    vault(rows);
    kmip(rows);
    postgres(rows);
    system(rows);
    return rows;
  }

  /** A row whose command is {@code mount}, and must not change anything. */
  private static Row mount(String what, ExitCode code, Object named, Damage damage) {
    return new Row(
        what,
        "mount",
        code,
        named,
        bench -> {
          damage.apply(bench);
          return unchanged(bench::mount);
        });
  }

  private interface Run {
    Command.Result run() throws Exception;
  }

  /** Runs a command, which must change nothing of what it finds. */
  private static Command.Result unchanged(Run command) throws Exception {
    SortedMap<String, String> before = everything();
    Command.Result result = command.run();
    assertThat(Tree.difference(before, everything())).as("after the command").isEmpty();
    return result;
  }

  private static void keyrings(List<Row> rows) {
    Path keyring = cluster.keyring();
    rows.add(
        mount(
            "keyring missing",
            ExitCode.KEYRING_MISSING,
            keyring,
            b -> b.move(keyring, keyring.resolveSibling("elsewhere"))));
    rows.add(
        mount(
            "keyring readable by others",
            ExitCode.KEYRING_EXPOSED,
            keyring,
            b -> b.mode(keyring, "rw-r--r--")));
    rows.add(
        mount(
            "keyring writable by its group",
            ExitCode.KEYRING_EXPOSED,
            keyring,
            b -> b.mode(keyring, "rw--w----")));
    rows.add(
        mount(
            "keyring of another cluster, with a key of the same name",
            ExitCode.PRINCIPAL_KEY_WRONG,
            KEY,
            b -> b.replace(keyring, anotherKeyring(b, KEY))));
    rows.add(
        mount(
            "keyring of another cluster, without a key of that name",
            ExitCode.PRINCIPAL_KEY_NOT_FOUND,
            KEY,
            b -> b.replace(keyring, anotherKeyring(b, "another"))));
    rows.add(
        mount(
            "keyring empty",
            ExitCode.PRINCIPAL_KEY_NOT_FOUND,
            KEY,
            b -> b.replace(keyring, new byte[0])));
    rows.add(
        mount("keyring truncated", ExitCode.KEYRING_DAMAGED, keyring, b -> b.cutOff(keyring, 1)));
    rows.add(
        mount(
            "keyring garbled: length of a key",
            ExitCode.KEYRING_DAMAGED,
            keyring,
            b -> b.garble(keyring, 288, 0x40)));
    rows.add(
        mount(
            "keyring garbled: a bit of a key",
            ExitCode.PRINCIPAL_KEY_WRONG,
            KEY,
            b -> b.garble(keyring, 256, 0x40)));
    rows.add(
        new Row(
            "keyring in the new cipher directory",
            "init",
            ExitCode.KEYRING_INSIDE,
            "new/keyring",
            b -> {
              Path directory = b.directory("new");
              return unchanged(
                  () -> b.pgveil("init", directory, "--keyring", directory.resolve("keyring")));
            }));
    rows.add(
        new Row(
            "keyring in a directory that does not exist",
            "init",
            ExitCode.KEYRING_MISSING,
            "missing/keyring",
            BadInputTest::keyringWithoutDirectory));
    rows.add(
        new Row(
            "keyring moved into the cipher directory",
            "provider change",
            ExitCode.KEYRING_INSIDE,
            cluster.cipher().resolve("keyring"),
            b -> {
              Path inside = cluster.cipher().resolve("keyring");
              Files.copy(keyring, inside);
              b.finallyDo(() -> Files.delete(inside));
              Files.setPosixFilePermissions(inside, PosixFilePermissions.fromString("rw-------"));
              return unchanged(
                  () ->
                      b.pgveil(
                          "provider",
                          "change",
                          "keyring",
                          "file",
                          "path=" + inside,
                          cluster.root()));
            }));
    Path nowhere = temporary.resolve("scratch/nowhere");
    rows.add(
        new Row(
            "no keyring at the new place",
            "change-key-provider",
            ExitCode.KEYRING_MISSING,
            nowhere,
            b -> unchanged(() -> changeKeyProvider(b, nowhere))));
    rows.add(
        new Row(
            "keyring of another cluster at the new place",
            "change-key-provider",
            ExitCode.PRINCIPAL_KEY_WRONG,
            KEY,
            b -> {
              Path directory = b.directory("other");
              Path other = directory.resolve("keyring");
              Command.Result made =
                  b.pgveil("init", directory.resolve("cipher"), "--keyring", other);
              assertThat(made.code()).as(made.all()).isZero();
              return unchanged(() -> changeKeyProvider(b, other));
            }));
  }

  private static Command.Result changeKeyProvider(Bench b, Path keyring) throws Exception {
    return b.pgveil("change-key-provider", "-D", cluster.root(), 1664, "keyring", "file", keyring);
  }

  /** {@code init} leaves nothing: with the directory made it works, as if it had not failed. */
  private static Command.Result keyringWithoutDirectory(Bench b) throws Exception {
    Path directory = b.directory("init");
    Path keyring = directory.resolve("missing/keyring");
    Object[] existing = {
      "init", Files.createDirectory(directory.resolve("c")), "--keyring", keyring
    };
    Object[] fresh = {"init", directory.resolve("a/new"), "--keyring", keyring, "--key", "second"};
    Command.Result failed = unchanged(() -> b.pgveil(existing));
    assertThat(unchanged(() -> b.pgveil(fresh)).code()).isEqualTo(failed.code());
    Files.createDirectory(keyring.getParent());
    RunAs user = RunAs.resolve(null);
    for (Object[] init : List.of(existing, fresh)) {
      Command.Result made = b.pgveil(init);
      assertThat(made.code()).as(made.all()).isZero();
      assertThat(Files.getAttribute((Path) init[1], "unix:uid")).isEqualTo(user.uid());
    }
    return failed;
  }

  private static byte[] anotherKeyring(Bench b, String key) throws Exception {
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
    for (String name : List.of("5_keys", "0_keys", "1663_keys", "wal_keys", "pgveil.seal")) {
      Path file = cluster.keys().resolve(name);
      ExitCode damaged =
          name.equals("pgveil.seal") ? ExitCode.SEAL_DAMAGED : ExitCode.KEY_FILE_DAMAGED;
      String what = "pg_tde/" + name;
      rows.add(mount(what + " truncated", damaged, file, b -> b.replace(file, head(file, 100))));
      rows.add(mount(what + " garbled: its magic", damaged, file, b -> b.garble(file, 0, 0x40)));
      rows.add(
          mount(
              what + " of an unknown version",
              ExitCode.VERSION_UNKNOWN,
              file,
              b -> b.garble(file, 3, 0x08)));
      String header = what + " garbled: its signed header";
      Damage damage = b -> b.garble(file, 310, 0x40);
      // those of databases are checked when they are needed: their provider may be down
      rows.add(
          name.matches("[05]_keys")
              ? verify(header, what, damage)
              : mount(header, ExitCode.PRINCIPAL_KEY_WRONG, KEY, damage));
    }
    Path seal = cluster.keys().resolve("pgveil.seal");
    rows.add(
        mount(
            "pg_tde/pgveil.seal garbled: a seal key",
            ExitCode.SEAL_DAMAGED,
            seal,
            b -> b.garble(seal, 320 + 64, 0x40)));
    rows.add(
        mount(
            "pg_tde/pgveil.seal missing",
            ExitCode.SEAL_DAMAGED,
            "pg_tde/pgveil.seal",
            b -> b.move(seal, outside.resolve("pgveil.seal"))));
    Path wal = cluster.keys().resolve("wal_keys");
    Path ofDatabase = cluster.keys().resolve("5_keys");
    rows.add(verify("pg_tde/wal_keys empty", "pg_wal", b -> b.replace(wal, new byte[0])));
    rows.add(
        verify(
            "pg_tde/5_keys without its last entries",
            "5_keys",
            b -> b.replace(ofDatabase, head(ofDatabase, 1000))));
    rows.add(
        verify(
            "pg_tde/5_keys missing",
            "base/5/1259",
            b -> b.move(ofDatabase, outside.resolve("5_keys"))));

    Path providers = cluster.keys().resolve("1664_providers");
    rows.add(
        mount(
            "pg_tde/1664_providers truncated",
            ExitCode.KEY_FILE_DAMAGED,
            providers,
            b -> b.cutOff(providers, 1)));
    rows.add(
        mount(
            "pg_tde/1664_providers garbled: a provider's id",
            ExitCode.KEY_FILE_DAMAGED,
            providers,
            b -> b.garble(providers, 0, 0x40)));
    Path version = cluster.keys().resolve("keys_version");
    rows.add(
        mount(
            "pg_tde/keys_version truncated",
            ExitCode.KEY_FILE_DAMAGED,
            version,
            b -> b.cutOff(version, 1)));
    rows.add(
        mount(
            "pg_tde/keys_version garbled",
            ExitCode.KEY_FILE_DAMAGED,
            version,
            b -> b.garble(version, 0, 0x40)));
    rows.add(
        mount(
            "pg_tde/keys_version of an unknown version",
            ExitCode.VERSION_UNKNOWN,
            version,
            b -> b.garble(version, 3, 0x08)));
  }

  private static byte[] head(Path file, int size) throws IOException {
    return Arrays.copyOf(Files.readAllBytes(file), size);
  }

  /** A row that {@code verify} finds; a finding names its object on standard output. */
  private static Row verify(String what, String named, Damage damage) {
    return new Row(
        what,
        "verify",
        ExitCode.FINDINGS,
        named,
        bench -> {
          damage.apply(bench);
          Command.Result result = unchanged(() -> bench.pgveil("verify", cluster.root()));
          // findings go to standard output, each with its remedy
          return new Command.Result(
              result.code(),
              result.out(),
              "pgveil: " + result.out().replace("  remedy: ", "remedy: ") + result.err());
        });
  }

  private static void sealedFiles(List<Row> rows) {
    Path control = cluster.cipher().resolve("global/pg_control");
    rows.add(
        mount(
            "global/pg_control with a garbled header",
            ExitCode.SEALED_FILE_DAMAGED,
            control,
            b -> b.replace(control, garbledHeader(control))));
    // as a power cut leaves a new file: it reads as empty, so this is no damaged header
    rows.add(
        verify(
            "global/pg_control truncated in its header",
            "global/pg_control",
            b -> b.replace(control, head(control, 1000))));
    rows.add(
        mount(
            "global/pg_control truncated behind its header",
            ExitCode.SEALED_FILE_DAMAGED,
            control,
            b -> b.replace(control, head(control, 4700))));
    rows.add(
        mount(
            "global/pg_control of no known layout",
            ExitCode.SEALED_FILE_DAMAGED,
            control,
            b -> {
              b.replace(control, Files.readAllBytes(control));
              try (Running daemon =
                  home.command("mount", cluster.cipher(), cluster.mount(), "--log-file", b.log())
                      .start()) {
                daemon.await("pgveil: mounted");
                Command.Result zeroed =
                    Command.of("dd", "if=/dev/zero", "bs=8192", "count=1", "conv=notrunc,fsync")
                        .with("of=" + cluster.mount().resolve("global/pg_control"))
                        .run();
                assertThat(zeroed.code()).as(zeroed.all()).isZero();
                assertThat(daemon.terminate()).as(daemon.output()).isZero();
              }
            }));
    Path version = cluster.cipher().resolve("PG_VERSION");
    rows.add(
        new Row(
            "PG_VERSION with a garbled header",
            "up",
            ExitCode.POSTGRES_FAILED,
            "PG_VERSION",
            b -> {
              b.replace(version, garbledHeader(version));
              return unchanged(() -> b.pgveil("up", cluster.root()));
            }));
    rows.add(
        verify(
            "PG_VERSION with a garbled header",
            "PG_VERSION",
            b -> b.replace(version, garbledHeader(version))));
    rows.add(
        verify(
            "a page with a garbled byte",
            "base/5/1259",
            b -> b.garble(cluster.cipher().resolve("base/5/1259"), 5000, 1)));
  }

  private static byte[] garbledHeader(Path file) throws IOException {
    byte[] content = Files.readAllBytes(file);
    for (int i = 0; i < 4096; i++) {
      content[i] ^= 0x5a;
    }
    return content;
  }

  private static void directories(List<Row> rows) {
    rows.add(
        cipherDirectory(
            "cipher directory missing", ExitCode.CIPHER_DIR_MISSING, d -> Files.delete(d)));
    rows.add(cipherDirectory("cipher directory empty", ExitCode.CIPHER_DIR_FOREIGN, d -> {}));
    rows.add(
        cipherDirectory(
            "a directory of something else",
            ExitCode.CIPHER_DIR_FOREIGN,
            d -> Files.writeString(d.resolve("letter.txt"), "Dear")));
    rows.add(
        cipherDirectory(
            "a data directory of plain PostgreSQL",
            ExitCode.PLAIN_POSTGRES,
            d -> Files.writeString(d.resolve("PG_VERSION"), "17\n")));
    rows.add(
        cipherDirectory(
            "a data directory of pg_tde",
            ExitCode.PG_TDE_CLUSTER,
            d -> {
              Files.writeString(d.resolve("PG_VERSION"), "17\n");
              Files.createDirectory(d.resolve("pg_tde"));
            }));
    rows.add(
        new Row(
            "a new cipher directory is not empty",
            "init",
            ExitCode.CIPHER_DIR_NOT_EMPTY,
            "full",
            b -> {
              Path directory = b.directory("full");
              Files.writeString(directory.resolve("letter.txt"), "Dear");
              return unchanged(
                  () -> b.pgveil("init", directory, "--keyring", outside.resolve("k")));
            }));
    rows.add(
        new Row(
            "a cluster is there already",
            "init",
            ExitCode.CIPHER_DIR_NOT_EMPTY,
            cluster.cipher(),
            b ->
                unchanged(
                    () -> b.pgveil("init", cluster.cipher(), "--keyring", outside.resolve("k")))));
    rows.add(
        new Row(
            "a cluster without data checksums and wal_log_hints",
            "mount",
            ExitCode.TORN_PAGES_POSSIBLE,
            "torn",
            b -> initdb(b, "--no-data-checksums")));
    rows.add(
        new Row(
            "a cluster with full_page_writes = off",
            "mount",
            ExitCode.TORN_PAGES_POSSIBLE,
            "full_page_writes",
            b -> initdb(b, "--data-checksums", "-c", "full_page_writes=off")));
    rows.add(
        new Row(
            "no permission for the cipher directory",
            "status",
            ExitCode.NO_PERMISSION,
            "scratch/closed",
            b -> {
              Path closed = b.directory("closed");
              Files.setPosixFilePermissions(closed, PosixFilePermissions.fromString("rwx------"));
              RunAs user = RunAs.resolve("nobody");
              return unchanged(
                  () ->
                      home.command("status", closed)
                          .by(
                              "setpriv",
                              "--reuid",
                              user.uid(),
                              "--regid",
                              user.gid(),
                              "--clear-groups",
                              "--")
                          .run());
            }));
    rows.add(
        new Row(
            "a data directory of pg_tde whose server may be running",
            "key create",
            ExitCode.KEY_REFUSED,
            "other/postmaster.pid",
            b -> {
              Path directory = b.directory("other");
              Files.writeString(directory.resolve("PG_VERSION"), "17\n");
              Files.createDirectory(directory.resolve("pg_tde"));
              Files.createFile(directory.resolve("postmaster.pid"));
              return unchanged(() -> b.pgveil("key", "create", "k", "--provider", "p", directory));
            }));
  }

  private interface Fill {
    void fill(Path directory) throws IOException;
  }

  private static Row cipherDirectory(String what, ExitCode code, Fill fill) {
    return new Row(
        what,
        "mount",
        code,
        "scratch/other",
        b -> {
          Path directory = b.directory("other");
          fill.fill(directory);
          return unchanged(() -> b.mount(directory, cluster.mount()));
        });
  }

  /** initdb with dangerous options, through the mount; refused later, and served if asked to. */
  private static Command.Result initdb(Bench b, Object... options) throws Exception {
    Path directory = b.directory("torn");
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
    Path cipher = directory.resolve("cipher");
    Path mountPoint = Files.createDirectory(directory.resolve("mount"));
    Command.Result made = b.pgveil("init", cipher, "--keyring", directory.resolve("keyring"));
    assertThat(made.code()).as(made.all()).isZero();
    Command mount = home.command("mount", cipher, mountPoint, "--log-file", b.log());
    RunAs user = RunAs.resolve(null);
    Path initdb = EmbeddedPostgres.bundled(null).directory().resolve("initdb");
    try (Running daemon = mount.start()) {
      daemon.await("pgveil: mounted");
      Command.Result ran =
          Command.of(initdb, "-D", mountPoint, "-A", "trust", "--no-sync")
              .with(options)
              .by("setpriv", "--reuid", user.uid(), "--regid", user.gid(), "--clear-groups", "--")
              .run();
      assertThat(ran.code()).as(ran.all()).isZero();
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
    }
    Command.Result refused = unchanged(() -> b.mount(cipher, mountPoint));
    try (Running daemon = mount.with("--accept-torn-pages").start()) {
      daemon.await("pgveil: mounted");
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
    }
    return refused;
  }

  private static void mountPoints(List<Row> rows) {
    rows.add(
        mountPoint("mount point missing", ExitCode.MOUNT_POINT_MISSING, (b, p) -> Files.delete(p)));
    rows.add(
        mountPoint(
            "mount point is a file",
            ExitCode.MOUNT_POINT_MISSING,
            (b, p) -> {
              Files.delete(p);
              Files.createFile(p);
            }));
    rows.add(
        mountPoint(
            "mount point not empty",
            ExitCode.MOUNT_POINT_NOT_EMPTY,
            (b, p) -> Files.createFile(p.resolve("file"))));
    rows.add(
        mountPoint(
            "something is mounted on the mount point",
            ExitCode.MOUNT_POINT_BUSY,
            (b, p) -> {
              Files.delete(p);
              b.fileSystem("point", "100k");
            }));
    rows.add(
        new Row(
            "mount point in the cipher directory",
            "mount",
            ExitCode.USAGE,
            cluster.cipher().resolve("base"),
            b -> {
              Path inside = Files.createDirectory(cluster.cipher().resolve("base/mount"));
              b.finallyDo(() -> Files.delete(inside));
              return b.mount(cluster.cipher(), inside);
            }));
    rows.add(
        new Row(
            "nothing is mounted there",
            "umount",
            ExitCode.NOT_MOUNTED,
            cluster.root(),
            b -> unchanged(() -> b.pgveil("umount", cluster.root()))));
    rows.add(
        new Row(
            "the daemon that holds the cluster does not answer",
            "status",
            ExitCode.DAEMON_UNREACHABLE,
            "no-socket",
            b -> {
              ClusterLock lock = ClusterLock.acquire(cluster.cipher(), "test");
              b.finallyDo(lock);
              lock.describe("test", outside.resolve("no-socket"), cluster.mount());
              return unchanged(() -> b.pgveil("status", cluster.root()));
            }));
  }

  private interface MountPointDamage {
    void apply(Bench bench, Path mountPoint) throws Exception;
  }

  private static Row mountPoint(String what, ExitCode code, MountPointDamage damage) {
    return new Row(
        what,
        "mount",
        code,
        "scratch/point",
        b -> {
          Path point = b.directory("point");
          damage.apply(b, point);
          return unchanged(() -> b.mount(cluster.cipher(), point));
        });
  }

  private static void keyCommands(List<Row> rows) {
    rows.add(
        key(
            "no such key provider",
            "key create",
            ExitCode.PROVIDER_UNKNOWN,
            "nowhere",
            "k --provider nowhere"));
    rows.add(
        key(
            "unknown type of key provider",
            "provider add",
            ExitCode.PROVIDER_UNKNOWN,
            "abacus",
            "p abacus path=/k"));
    rows.add(
        key(
            "no such principal key",
            "key set",
            ExitCode.PRINCIPAL_KEY_NOT_FOUND,
            "none",
            "none --provider keyring --scope server"));
    rows.add(
        key(
            "the principal key exists already",
            "key create",
            ExitCode.KEY_REFUSED,
            KEY,
            KEY + " --provider keyring"));
    rows.add(
        key(
            "the principal key is in use",
            "key delete",
            ExitCode.KEY_REFUSED,
            "server",
            "--scope server"));
    rows.add(
        key(
            "the key provider is in use",
            "provider delete",
            ExitCode.KEY_REFUSED,
            "keyring",
            "keyring"));
  }

  private static Row key(String what, String command, ExitCode code, String named, String rest) {
    return new Row(
        what,
        command,
        code,
        named,
        b ->
            unchanged(
                () ->
                    b.pgveil((Object[]) (command + " " + rest + " " + cluster.root()).split(" "))));
  }

  /** What can be said without a server; VaultTest has one. */
  private static void vault(List<Row> rows) {
    String nobody = "https://127.0.0.1:1";
    rows.add(vault("no Vault at the address", ExitCode.PROVIDER_UNREACHABLE, nobody, nobody));
    rows.add(
        vault(
            "a Vault elsewhere without TLS",
            ExitCode.PROVIDER_REFUSED,
            "http://vault.example:8200",
            "http://vault.example:8200"));
    rows.add(
        vault(
            "token file missing", ExitCode.PROVIDER_REFUSED, "token file", nobody, Files::delete));
    rows.add(
        vault(
            "token file readable by others",
            ExitCode.KEYRING_EXPOSED,
            "token file",
            nobody,
            token ->
                Files.setPosixFilePermissions(
                    token, PosixFilePermissions.fromString("rw-r--r--"))));
    rows.add(
        vault(
            "token file a link into the cipher directory",
            ExitCode.KEYRING_INSIDE,
            "token file",
            nobody,
            token -> {
              Files.delete(token);
              Files.createSymbolicLink(token, cluster.cipher().resolve("PG_VERSION"));
            }));
  }

  private interface FileChange {
    void apply(Path file) throws Exception;
  }

  private static Row vault(String what, ExitCode code, String named, String url) {
    return vault(what, code, named, url, token -> {});
  }

  private static Row vault(
      String what, ExitCode code, String named, String url, FileChange change) {
    return new Row(
        what,
        "provider add",
        code,
        named,
        b -> {
          Path token = OpenBao.write(outside.resolve("token"), "s.nobody");
          change.apply(token);
          return unchanged(
              () ->
                  b.pgveil(
                      "provider",
                      "add",
                      "v",
                      "vault-v2",
                      "url=" + url,
                      "mountPath=secret",
                      "tokenPath=" + token,
                      cluster.root()));
        });
  }

  /** What can be said without a server and a certificate; KmipTest has them. */
  private static void kmip(List<Row> rows) {
    rows.add(
        kmip(
            "a KMIP host that is no host",
            ExitCode.PROVIDER_REFUSED,
            "option host",
            "https://127.0.0.1",
            certificate -> {}));
    rows.add(
        kmip(
            "client certificate missing",
            ExitCode.PROVIDER_REFUSED,
            "client certificate file",
            "127.0.0.1",
            Files::delete));
    rows.add(
        kmip(
            "client certificate writable by others",
            ExitCode.KEYRING_EXPOSED,
            "client certificate file",
            "127.0.0.1",
            certificate ->
                Files.setPosixFilePermissions(
                    certificate, PosixFilePermissions.fromString("rw-rw-rw-"))));
  }

  private static Row kmip(
      String what, ExitCode code, String named, String host, FileChange change) {
    return new Row(
        what,
        "provider add",
        code,
        named,
        b -> {
          Path certificate = OpenBao.write(outside.resolve("client.pem"), "no certificate");
          change.apply(certificate);
          return unchanged(
              () ->
                  b.pgveil(
                      "provider",
                      "add",
                      "k",
                      "kmip",
                      "host=" + host,
                      "port=1",
                      "certPath=" + certificate,
                      "keyPath=/nowhere",
                      "caPath=/nowhere",
                      cluster.root()));
        });
  }

  private static void postgres(List<Row> rows) {
    rows.add(
        up(
            "no PostgreSQL binaries in the directory",
            ExitCode.POSTGRES_MISSING,
            "scratch/bin/initdb",
            b -> List.of("--pg-bindir", b.directory("bin"))));
    rows.add(
        up(
            "PostgreSQL binaries of another major version",
            ExitCode.POSTGRES_MISMATCH,
            "17",
            b -> List.of("--pg-bindir", binaries(b, "17.5"))));
    rows.add(
        up(
            "no embedded PostgreSQL of this version",
            ExitCode.POSTGRES_MISSING,
            "PostgreSQL 9",
            b -> List.of("--pg-version", 9)));
    rows.add(
        up(
            "the user for PostgreSQL does not exist",
            ExitCode.RUN_AS_UNSUITABLE,
            "no-such-user",
            b -> List.of("--run-as", "no-such-user")));
    rows.add(
        up(
            "the user for PostgreSQL is root",
            ExitCode.RUN_AS_UNSUITABLE,
            "root",
            b -> List.of("--run-as", "root")));
    rows.add(
        up(
            "the TCP port is in use",
            ExitCode.PORT_IN_USE,
            "127.0.0.1:",
            b -> {
              ServerSocket socket = new ServerSocket(0, 1, InetAddress.ofLiteral("127.0.0.1"));
              b.finallyDo(socket);
              return List.of("--port", socket.getLocalPort());
            }));
  }

  private interface Options {
    List<Object> of(Bench bench) throws Exception;
  }

  private static Row up(String what, ExitCode code, Object named, Options options) {
    return new Row(
        what,
        "up",
        code,
        named,
        b -> {
          List<Object> arguments = new ArrayList<>(List.of("up", cluster.root()));
          arguments.addAll(options.of(b));
          return unchanged(() -> b.pgveil(arguments.toArray()));
        });
  }

  /** Programs that do nothing but tell their version. */
  private static Path binaries(Bench b, String version) throws IOException {
    Path bin = b.directory("bin");
    for (String program : List.of("initdb", "postgres")) {
      Path file = bin.resolve(program);
      Files.writeString(file, "#!/bin/sh\necho '%s (PostgreSQL) %s'\n".formatted(program, version));
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }
    return bin;
  }

  private static void system(List<Row> rows) {
    rows.add(
        new Row(
            "no /dev/fuse",
            "mount",
            ExitCode.NO_FUSE_DEVICE,
            "/dev/fuse",
            b ->
                unchanged(
                    () ->
                        home.command(
                                "mount", cluster.cipher(), cluster.mount(), "--log-file", b.log())
                            .by("unshare", "-m", "sh", "-ec", WITHOUT_DEVICE, "sh")
                            .run())));
    rows.add(
        new Row(
            "no permission for /dev/fuse",
            "mount",
            ExitCode.NO_PERMISSION,
            "/dev/fuse",
            BadInputTest::asOrdinaryUser));
    rows.add(
        new Row(
            "no JDK that is new enough",
            "any",
            ExitCode.JDK_UNSUITABLE,
            "no JDK 25",
            b -> {
              Path old = b.directory("jdk-17");
              Files.createDirectory(old.resolve("bin"));
              Files.writeString(old.resolve("release"), "JAVA_VERSION=\"17.0.9\"\n");
              for (String tool : List.of("java", "javac")) {
                Path file = old.resolve("bin").resolve(tool);
                Files.writeString(file, "#!/bin/sh\nexit 1\n");
                Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
              }
              return unchanged(
                  () ->
                      home.command("status", cluster.root())
                          .by("unshare", "-m", "sh", "-ec", WITH_OLD_JDK, "sh", old)
                          .run());
            }));
    rows.add(
        new Row(
            "the disk is full",
            "init",
            ExitCode.DISK_FULL,
            "scratch/small",
            b -> {
              Path small = b.fileSystem("small", "256k");
              Path cipher = Files.createDirectory(small.resolve("cipher"));
              Path filler = Bench.fill(small);
              Object[] init = {"init", cipher, "--keyring", small.resolve("keyring")};
              Command.Result failed = b.pgveil(init);
              assertThat(cipher).isEmptyDirectory();
              Files.delete(filler);
              Command.Result works = b.pgveil(init);
              assertThat(works.code()).as(works.all()).isZero();
              return failed;
            }));
    rows.add(
        new Row(
            "the disk is full",
            "key create",
            ExitCode.DISK_FULL,
            "keyring",
            b -> full(b, "create", "k2")));
    rows.add(
        new Row(
            "the disk is full",
            "key set",
            ExitCode.DISK_FULL,
            "pg_tde",
            b -> full(b, "set", "k1", "--scope", "server")));
    rows.add(
        new Row(
            "the disk is full",
            "up",
            ExitCode.POSTGRES_FAILED,
            "No space left on device",
            b -> {
              Path small = b.fileSystem("small", "12m");
              Files.setPosixFilePermissions(small, PosixFilePermissions.fromString("rwxr-xr-x"));
              Path root = small.resolve("up");
              Command.Result failed = b.pgveil("up", root);
              Command.of("mount", "-o", "remount,size=200m", small).run();
              try (Running up = home.command("up", root).start()) {
                up.await(UpDirectory.READY);
                assertThat(up.terminate()).as(up.output()).isZero();
              }
              return failed;
            }));
  }

  /** A key command on a cluster without a byte of room; with room again it works. */
  private static Command.Result full(Bench b, String... command) throws Exception {
    Path small = b.fileSystem("small", "256k");
    Path cipher = small.resolve("cipher");
    Path keyring = small.resolve("keyring");
    Command.Result made = b.pgveil("init", cipher, "--keyring", keyring, "--key", "k0");
    assertThat(made.code()).as(made.all()).isZero();
    made = b.pgveil("key", "create", "k1", "--provider", "keyring", cipher);
    assertThat(made.code()).as(made.all()).isZero();
    List<Object> arguments = new ArrayList<>(List.of("key"));
    arguments.addAll(List.of(command));
    arguments.addAll(List.of("--provider", "keyring", cipher));
    Path filler = Bench.fill(small);
    Command.Result failed = unchanged(() -> b.pgveil(arguments.toArray()));
    Files.delete(filler);
    Command.Result works = b.pgveil(arguments.toArray());
    assertThat(works.code()).as(works.all()).isZero();
    return failed;
  }

  private static Command.Result asOrdinaryUser(Bench b) throws Exception {
    RunAs user = RunAs.resolve("nobody");
    Path directory = b.directory("own");
    Path elsewhere = Files.createDirectory(outside.resolve("own"));
    b.finallyDo(() -> Installation.deleteTree(elsewhere));
    Path mountPoint = Files.createDirectory(elsewhere.resolve("mount"));
    for (Path p : List.of(directory, elsewhere, mountPoint)) {
      user.own(p);
    }
    Object[] asUser = {
      "setpriv", "--reuid", user.uid(), "--regid", user.gid(), "--clear-groups", "--"
    };
    Path cipher = directory.resolve("cipher");
    Command.Result made =
        home.command("init", cipher, "--keyring", directory.resolve("keyring"))
            .by(asUser)
            .environment("XDG_RUNTIME_DIR", elsewhere.toString())
            .run();
    assertThat(made.code()).as(made.all()).isZero();
    return unchanged(
        () ->
            home.command("mount", cipher, mountPoint, "--log-file", elsewhere.resolve("log"))
                .by(asUser)
                .by("unshare", "-m", "sh", "-ec", WITH_CLOSED_DEVICE, "sh")
                .environment("XDG_RUNTIME_DIR", elsewhere.toString())
                .run());
  }

  // ---- while the cluster runs ----

  private static List<Row> runningRows() {
    Path insideMount = cluster.mount().resolve("keyring");
    return List.of(
        running(
            "another daemon serves the cluster",
            ExitCode.ALREADY_SERVED,
            cluster.cipher(),
            "mount"),
        running(
            "another daemon serves the cluster", ExitCode.ALREADY_SERVED, cluster.cipher(), "up"),
        running(
            "another daemon serves the cluster",
            ExitCode.ALREADY_SERVED,
            cluster.cipher(),
            "verify"),
        running("PostgreSQL uses the mount", ExitCode.MOUNT_POINT_BUSY, cluster.mount(), "umount"),
        running(
            "keyring on the mount",
            ExitCode.KEYRING_INSIDE,
            insideMount,
            "provider add",
            "inside",
            "file",
            "path=" + insideMount));
  }

  private static Row running(
      String what, ExitCode code, Object named, String command, Object... rest) {
    return new Row(
        what,
        command,
        code,
        named,
        b -> {
          List<Object> arguments = new ArrayList<>(List.of((Object[]) command.split(" ")));
          arguments.addAll(List.of(rest));
          if (command.equals("mount")) {
            return b.mount(cluster.cipher(), b.directory("second"));
          }
          arguments.add(cluster.root());
          return b.pgveil(arguments.toArray());
        });
  }

  @Test
  void aRunningClusterIsLeftAlone() throws Exception {
    Bench bench = new Bench(cluster, home, scratch, outside);
    try (Running up = cluster.up(home)) {
      for (Row row : runningRows()) {
        assertMessage(row, row.action.run(bench));
      }
      assertThat(UpDirectory.sql(up, "SELECT count(*) FROM t")).isEqualTo("1000");
      assertThat(up.terminate()).as(up.output()).isZero();
    } finally {
      cluster.discard();
      bench.restore();
      original = everything();
    }
  }
}
