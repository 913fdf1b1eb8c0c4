package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import io.pgveil.reader.Keyring;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.SealFile;
import io.pgveil.reader.Secret;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * Known keys of a cluster at work are looked for wherever they could come out: in a core of the
 * daemon, in a heap dump, in logs, in the process list, in the cipher directory. A process that
 * leaks them shows that the search would find them.
 */
@Tag("system")
@ExtendWith(Installation.class)
class SecretsTest {
  @TempDir Path temporary;

  @BeforeEach
  void needs() throws Exception {
    assumeTrue(Posix.geteuid() == 0, "only root may take a core of the daemon");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    assumeTrue(
        Command.of("sh", "-c", "command -v gcore").run().code() == 0,
        "gcore is not installed (package gdb)");
  }

  @Test
  void keysComeOutNowhere(Installation.Home home) throws Exception {
    UpDirectory cluster = UpDirectory.in(temporary);
    try (Running up = cluster.up(home, "--log-level", "TRACE")) {
      UpDirectory.sql(
          up, "CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
      UpDirectory.sql(up, "CHECKPOINT");
      Map<String, byte[]> keys = keys(cluster);
      SecretSearch search = new SecretSearch(keys);
      requireFound(keys);

      assertThat(search.in(core(up.pid(), "daemon"))).as("core of the daemon").isEmpty();
      // The filter hides all memory. Only root can take it away; then internal keys are found, so
      // the search does find what is in this process. Principal keys lie outside the heap, but a
      // moving collector may have left copies of the arrays that the cipher was given.
      Files.writeString(Path.of("/proc/" + up.pid() + "/coredump_filter"), "0x33");
      assertThat(search.in(core(up.pid(), "unfiltered")))
          .as("core of the daemon without a filter")
          .anyMatch(name -> name.startsWith("internal key"));
      heapDumps(up.pid());
      assertThat(search.below(cluster.cipher())).as("cipher directory").isEmpty();
      assertThat(search.below(cluster.root().resolve("log"))).as("logs").isEmpty();
      assertThat(search.inProcessList()).as("process list").isEmpty();
      assertThat(search.in(up.output())).as("output").isEmpty();
      assertThat(search.bytes()).as("bytes searched").isGreaterThan(30_000_000);

      NavigableSet<String> before = droppings();
      Command.of("kill", "-ABRT", up.pid()).run();
      assertThat(up.exitCode()).isEqualTo(128 + 6);
      assertThat(droppings()).as("what a crash has left").isEqualTo(before);
      assertThat(search.in(up.output())).as("output of the crash").isEmpty();
    } finally {
      cluster.discard();
    }
  }

  /** Principal keys, internal keys of relations and seal keys, from files, by the other reader. */
  private static Map<String, byte[]> keys(UpDirectory cluster) throws IOException {
    Map<String, byte[]> keys = new LinkedHashMap<>();
    Secret principal = Keyring.read(cluster.keyring()).find("principal-key-1").orElseThrow();
    keys.put("principal key", principal.toArray());
    RelationKeyFile file = RelationKeyFile.read(cluster.keys().resolve("5_keys"));
    int n = 0;
    for (RelationKeyFile.Entry entry : file.keys()) {
      if (n++ % 40 == 0 || n == file.keys().size()) {
        keys.put("internal key " + n, entry.unwrap(principal).toArray());
      }
    }
    SealFile seal = SealFile.read(cluster.keys().resolve("pgveil.seal"));
    seal.unwrapAll(principal).forEach((id, key) -> keys.put("seal key " + id, key.toArray()));
    assertThat(keys).hasSizeGreaterThan(4);
    return keys;
  }

  /** The control run: whatever is asserted to be nowhere is found where it is. */
  private void requireFound(Map<String, byte[]> keys) throws Exception {
    SecretSearch search = new SecretSearch(keys);
    String[] names = keys.keySet().toArray(String[]::new);
    String[] hex =
        keys.values().stream().map(k -> HexFormat.of().formatHex(k)).toArray(String[]::new);
    Command leak =
        Command.of(
                Path.of(System.getProperty("java.home"), "bin/java"),
                "-Xmx16m",
                "-XX:+UseSerialGC",
                "-cp",
                Path.of(Leak.class.getProtectionDomain().getCodeSource().getLocation().toURI()),
                Leak.class.getName())
            .with((Object[]) hex);
    try (Running leaking = leak.start().await("ready")) {
      assertThat(search.in(core(leaking.pid(), "control"))).as("control: core").contains(names);
      assertThat(search.inProcessList())
          .as("control: process list")
          .contains(Stream.of(names).map(n -> n + " (hex)").toArray(String[]::new));
    }
    assertThat(search.in(String.join(" ", hex))).as("control: text").hasSize(names.length);
  }

  private Path core(long pid, String name) throws IOException {
    Path file = temporary.resolve(name + "." + pid);
    Command.Result result = Command.of("gcore", "-o", temporary.resolve(name), pid).run();
    assertThat(file).as(result.all()).isNotEmptyFile();
    return file;
  }

  /** The JVM takes no orders from outside, not even from root. */
  private void heapDumps(long pid) throws IOException {
    Path dump = temporary.resolve("heap.hprof");
    Path tools = Path.of(System.getProperty("java.home"), "bin");
    for (Command command :
        List.of(
            Command.of(tools.resolve("jcmd"), pid, "GC.heap_dump", dump),
            Command.of(tools.resolve("jmap"), "-dump:format=b,file=" + dump, pid))) {
      Command.Result result = command.run();
      assertThat(result.code()).as("%s: %s", command.words(), result.all()).isNotZero();
      assertThat(dump).as("%s: %s", command.words(), result.all()).doesNotExist();
    }
  }

  /** Cores and crash reports where a process that works in the root directory leaves them. */
  private static NavigableSet<String> droppings() throws IOException {
    NavigableSet<String> names = new TreeSet<>();
    for (Path place : List.of(Path.of("/"), Path.of("/tmp"))) {
      try (Stream<Path> files = Files.list(place)) {
        files
            .map(Path::toString)
            .filter(f -> f.matches(".*/(core|hs_err|replay_pid).*"))
            .forEach(names::add);
      }
    }
    return names;
  }
}
