package io.pgveil.tests.command;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.Collections;
import java.util.HexFormat;
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
 * daemon, in a heap dump, in logs and the journal, in arguments and environments of all processes,
 * in temporary files, in the cipher directory. Leaks on purpose show that the search would find
 * them.
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

  /**
   * Seen failing: coredump_filter in ProcessHardening.forbidCores; internal and principal keys in
   * the core of the daemon.
   */
  @Test
  void hazard22_keysComeOutNowhere(Installation.Home home) throws Exception {
    NavigableSet<Path> before = temporaryFiles();
    UpDirectory cluster = UpDirectory.in(temporary);
    try (Running up = cluster.up(home, "--log-level", "TRACE")) {
      work(up);
      Secrets secrets = Secrets.of(cluster);
      SecretSearch search = secrets.search();

      assertThat(search.in(core(up.pid(), "daemon"))).as("core of the daemon").isEmpty();
      heapDumpsAreRefused(up.pid());
      Command.of("kill", "-QUIT", up.pid()).run(); // the JVM prints its threads
      up.await("Heap");
      assertThat(search.below(cluster.cipher())).as("cipher directory").isEmpty();
      assertThat(search.below(cluster.root().resolve("log"))).as("logs").isEmpty();
      assertThat(search.below(cluster.mount().resolve("log"))).as("PostgreSQL's logs").isEmpty();
      assertThat(search.in(journal(up.pid()))).as("journal").isEmpty();
      assertThat(search.inProcessList()).as("process list").isEmpty();
      NavigableSet<Path> made = temporaryFiles();
      made.removeAll(before);
      for (Path file : made) {
        assertThat(inTemporary(search, file)).as("temporary file %s", file).isEmpty();
      }
      assertThat(search.in(up.output())).as("output").isEmpty();
      assertThat(search.bytes()).as("bytes searched").isGreaterThan(30_000_000);

      // The filter hides all memory. Only root can take it away; then internal keys are found, so
      // the search does find what is in this process. Principal keys lie outside the heap, but a
      // moving collector may have left copies of the arrays that the cipher was given.
      Files.writeString(Path.of("/proc/" + up.pid() + "/coredump_filter"), "0x33");
      assertThat(search.in(core(up.pid(), "unfiltered")))
          .as("core of the daemon without a filter")
          .anyMatch(name -> name.startsWith("internal key"));
      // the searches of PostgreSQL's logs and of the tree would have found a key
      String key = HexFormat.of().formatHex(secrets.outsideHeap().get("principal key"));
      assertThatThrownBy(() -> UpDirectory.sql(up, "SELECT 1/0 -- " + key))
          .isInstanceOf(SQLException.class);
      assertThat(search.below(cluster.mount().resolve("log")))
          .as("control: PostgreSQL's logs")
          .anyMatch(name -> name.endsWith("principal key (hex)"));
      Files.writeString(cluster.cipher().resolve("leak"), key);
      assertThat(search.below(cluster.cipher()))
          .as("control: cipher directory")
          .containsExactly("leak: principal key (hex)");

      NavigableSet<String> dropped = droppings();
      Command.of("kill", "-ABRT", up.pid()).run();
      assertThat(up.exitCode()).isEqualTo(128 + 6);
      assertThat(droppings()).as("what a crash has left").isEqualTo(dropped);
      assertThat(search.in(up.output())).as("output of the crash").isEmpty();
    } finally {
      cluster.discard();
    }
  }

  /**
   * Every program that is started, from initdb to the end, with arguments and environment: those
   * that have ended again are in no process list. Seen failing: the silence of Child.builder, keys
   * in its environment; "principal key (hex)" among the programs started.
   */
  @Test
  void hazard22_noProgramIsHandedAKey(Installation.Home home) throws Exception {
    assumeTrue(Command.of("strace", "--version").runs(), "strace is not installed");
    UpDirectory cluster = UpDirectory.in(temporary);
    Path trace = temporary.resolve("trace");
    try {
      try (Running up =
          home.command("up", cluster.root()).by(strace(trace)).start().await(UpDirectory.READY)) {
        work(up);
        assertThat(up.terminate()).isZero();
      }
      assertThat(Files.readString(trace)).contains("/initdb\"", "/postgres\"");
      Secrets secrets = Secrets.of(cluster);
      assertThat(secrets.search().in(trace)).as("programs started").isEmpty();
      try (Running leaking = leak(secrets, strace(trace))) {
        assertThat(secrets.search().in(trace))
            .as("control: arguments and environment")
            .containsAll(names(secrets, " (hex)"))
            .containsAll(names(secrets, " (Base64)"));
      }
    } finally {
      cluster.discard();
    }
  }

  /**
   * With an agent in the very process that the launcher starts, since it refuses all others. Seen
   * failing: the memory off the heap in SecretMemory.store, a list of arrays as well; principal and
   * seal key in the heap dump.
   */
  @Test
  void hazard22_aHeapDumpHoldsNoPrincipalKey(Installation.Home home) throws Exception {
    UpDirectory cluster = UpDirectory.in(temporary);
    Command command =
        home.command("up", cluster.root())
            .environment("PGVEIL_JAVA_OPTS", HeapDumps.options(temporary));
    try (Running up = command.start().await(UpDirectory.READY)) {
      work(up);
      Secrets secrets = Secrets.of(cluster);
      Path dump = HeapDumps.dump(up, temporary);
      SecretSearch search = new SecretSearch(secrets.outsideHeap());
      assertThat(search.in(dump)).as("heap dump").isEmpty();
      assertThat(secrets.search().in(dump))
          .as("control: internal keys are on the heap")
          .anyMatch(name -> name.startsWith("internal key"));
    } finally {
      cluster.discard();
    }
  }

  /**
   * The control run: whatever is asserted to be nowhere is found where it is. Seen failing:
   * hexadecimal digits in SecretSearch; "key (hex)" is not among those of the processes.
   */
  @Test
  void hazard22_theSearchFindsWhatLeaks() throws Exception {
    Secrets secrets =
        new Secrets(
            Map.of("key", "0123456789abcdef".getBytes(UTF_8)),
            Map.of("long key", "ABCDEFGHIJKLMNOPQRSTUVWXYZ??<<>>".getBytes(UTF_8)),
            Map.of("token", "s.correct horse"));
    SecretSearch search = secrets.search();
    try (Running leaking = leak(secrets)) {
      assertThat(search.in(core(leaking.pid(), "leak"))).as("core").contains("key", "long key");
      assertThat(search.in(temporary.resolve("leak.hprof"))).as("heap").contains("key", "long key");
      assertThat(search.inProcessList()).as("processes").containsAll(names(secrets, " (hex)"));
      assertThat(search.in(leaking.output())).as("output").containsAll(names(secrets, " (hex)"));
      assertThat(search.in(temporary.resolve("leak.log")))
          .as("log")
          .containsAll(names(secrets, " (hex)"));
      assertThat(search.below(temporary.resolve("files")))
          .as("files")
          .contains("leak.0: key", "leak.1: long key");
      assertThat(inTemporary(search, temporary.resolve("leak.log")))
          .as("temporary file")
          .containsAll(names(secrets, " (hex)"));
    }
    assertThat(search.in("Token: s.correct horse\n")).contains("token");
  }

  /** Pages, indexes, WAL and temporary files: every kind of key is used. */
  private static void work(Running up) throws Exception {
    UpDirectory.sql(
        up, "CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
    UpDirectory.sql(up, "SET work_mem = '64kB'; CREATE INDEX ON t (i); CHECKPOINT");
  }

  private static Object[] strace(Path trace) {
    // as a grandchild, so that the program is ours to end
    return new Object[] {
      "strace", "-D", "-f", "-qq", "-v", "-s", "65535", "-e", "trace=execve,execveat", "-o", trace
    };
  }

  /** A process that leaks the keys of {@code secrets} into {@link #temporary}. */
  private Running leak(Secrets secrets, Object... by) throws Exception {
    Object[] hex = secrets.keys().values().stream().map(k -> HexFormat.of().formatHex(k)).toArray();
    return Command.of(
            Path.of(System.getProperty("java.home"), "bin/java"),
            "-Xmx16m",
            "-XX:+UseSerialGC",
            "-cp",
            Path.of(Leak.class.getProtectionDomain().getCodeSource().getLocation().toURI()),
            Leak.class.getName(),
            temporary)
        .with(hex)
        .by(by)
        .start()
        .await("ready");
  }

  private static List<String> names(Secrets secrets, String form) {
    return secrets.keys().keySet().stream().map(name -> name + form).toList();
  }

  /** What the journal has of a process; nothing where there is no journal. */
  private static String journal(long pid) throws IOException {
    Command journal = Command.of("journalctl", "--no-pager", "-o", "cat", "_PID=" + pid);
    return journal.runs() ? journal.run().out() : "";
  }

  /** Files, sockets and pipes that lie directly in the directories for temporary files. */
  private static NavigableSet<Path> temporaryFiles() throws IOException {
    NavigableSet<Path> all = new TreeSet<>();
    for (String place : List.of("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/pgveil")) {
      if (Files.isDirectory(Path.of(place))) {
        try (Stream<Path> files = Files.list(Path.of(place))) {
          files.forEach(all::add);
        }
      }
    }
    return all;
  }

  /**
   * Others work on this machine too: what has gone again, or is not theirs to show, is no finding.
   */
  private static NavigableSet<String> inTemporary(SecretSearch search, Path file) {
    try {
      return Files.isRegularFile(file) && Files.size(file) < 64 << 20
          ? search.in(file)
          : Collections.emptyNavigableSet();
    } catch (IOException e) {
      return Collections.emptyNavigableSet();
    }
  }

  private Path core(long pid, String name) throws IOException {
    Path file = temporary.resolve(name + "." + pid);
    Command.Result result = Command.of("gcore", "-o", temporary.resolve(name), pid).run();
    assertThat(file).as(result.all()).isNotEmptyFile();
    return file;
  }

  /** The JVM takes no orders from outside, not even from root. */
  private void heapDumpsAreRefused(long pid) throws IOException {
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
