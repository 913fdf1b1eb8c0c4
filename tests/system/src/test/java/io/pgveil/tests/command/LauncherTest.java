package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** {@code ./pgveil} itself. */
@Tag("system")
@ExtendWith(Installation.class)
class LauncherTest {
  @TempDir Path temporary;

  @Test
  void versionSaysNothingElse(Installation.Home home) throws Exception {
    long start = System.nanoTime();
    Command.Result result = home.run("--version");
    System.err.printf("pgveil --version: %d ms%n", (System.nanoTime() - start) / 1_000_000);
    assertThat(result.code()).as(result.all()).isZero();
    assertThat(result.out().lines())
        .hasSize(2)
        .first()
        .asString()
        .matches("pgveil \\d+\\.\\d+\\.\\d+");
    assertThat(result.err()).isEmpty();
  }

  @Test
  void firstStartRehearsesForTheNextOnes(Installation.Home home) throws Exception {
    List<Path> made;
    try (Stream<Path> files = Files.list(home.directory().resolve(".pgveil-build/build.test"))) {
      made = files.filter(f -> f.getFileName().toString().contains("aot")).toList();
    }
    // one cache, which nobody else may change, and not the directory that it was made in
    assertThat(made).singleElement().asString().endsWith(".aot");
    assertThat(Files.getPosixFilePermissions(made.getFirst()))
        .isEqualTo(PosixFilePermissions.fromString("rw-r--r--"));

    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    Command.Result rehearsal =
        home.command("rehearse")
            .environment("PGVEIL_JAVA_OPTS", "-Djava.io.tmpdir=" + temporary)
            .run();
    assertThat(rehearsal.code()).as(rehearsal.all()).isZero();
    assertThat(rehearsal.out() + rehearsal.err()).isEmpty();
    assertThat(temporary).isEmptyDirectory();
  }

  @Test
  void linksLeadToIt(Installation.Home home) throws Exception {
    Path bin = Files.createDirectory(temporary.resolve("bin"));
    Files.createSymbolicLink(temporary.resolve("first"), home.launcher());
    Path second = Files.createSymbolicLink(bin.resolve("pgveil"), Path.of("../first"));
    Command.Result result = Command.of(second, "--version").run();
    assertThat(result.out()).as(result.all()).startsWith("pgveil ");
  }

  @Test
  void pathsAreThoseOfTheCallersDirectory(Installation.Home home) throws Exception {
    Path work = Files.createDirectory(temporary.resolve("work"));
    Command.Result made =
        home.command("init", "cipher dir", "--keyring", "../keyring").in(work).run();
    assertThat(made.code()).as(made.all()).isZero();
    assertThat(temporary.resolve("keyring")).isRegularFile();
    for (Object[] arguments :
        new Object[][] {{"status", "cipher dir"}, {"status", "-D", "cipher dir"}}) {
      Command.Result status = home.command(arguments).in(work).run();
      assertThat(status.code()).as(status.all()).isZero();
      assertThat(status.out()).contains(work.toRealPath().resolve("cipher dir").toString());
    }
  }

  @Test
  void exitCodesComeThrough(Installation.Home home) throws Exception {
    assertThat(home.run("no-such-command").code()).isEqualTo(2);
    assertThat(home.run("status", temporary.resolve("missing")).code()).isEqualTo(30);
  }
}
