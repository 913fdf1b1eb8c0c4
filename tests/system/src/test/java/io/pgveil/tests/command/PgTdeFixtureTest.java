package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.reader.FixtureTruth;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What an auditor does with a cluster that a real pg_tde server wrote: point, look, verify. */
@Tag("system")
@ExtendWith(Installation.class)
class PgTdeFixtureTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path temporary;

  @Test
  void pointLookAndVerify(Installation.Home home) throws Exception {
    Optional<Path> archives = FixtureTruth.find();
    assumeTrue(
        archives.isPresent(),
        "no fixture fx-aes128: neither system property pgveil.fixtures nor shared/fixtures above");
    assumeTrue(
        Command.of("sh", "-c", "command -v zstd").run().code() == 0,
        "no program zstd to unpack the fixture");
    FixtureTruth fixture = FixtureTruth.unpack(archives.orElseThrow(), temporary);
    Path data = fixture.data();

    SortedMap<String, String> before = Tree.of(data);
    JsonNode status = JSON.readTree(ok(home.run("status", "--json", data)).out());
    assertThat(status.get("walRanges").asInt()).isPositive();
    assertThat(ok(home.run("provider", "list", data)).out()).contains("fx-global-file");
    assertThat(Tree.difference(before, Tree.of(data))).isEmpty();
    assertThat(data.resolve("pg_tde/pgveil.lock")).doesNotExist();

    Path global = fixture.root().resolve("keyring.file");
    Path local = fixture.root().resolve("keyring-local.file");
    Path pidFile = Files.createFile(data.resolve("postmaster.pid"));
    Command.Result refused =
        home.run("provider", "change", "fx-global-file", "file", "path=" + global, data);
    assertThat(refused.code()).as(refused.all()).isEqualTo(28);
    assertThat(refused.err()).contains(pidFile.toString());
    Files.delete(pidFile);
    assertThat(Tree.difference(before, Tree.of(data))).isEmpty();

    ok(home.run("provider", "change", "fx-global-file", "file", "path=" + global, data));
    ok(
        home.run(
            "provider",
            "change",
            "fx-local-file",
            "file",
            "path=" + local,
            "--database",
            16386,
            data));
    assertThat(ok(home.run("provider", "list", data)).out()).contains(global.toString());

    before = Tree.of(data);
    ok(home.run("key", "verify", "--scope", "server", data));
    Command.Result verify = ok(home.run("verify", "--list-clear", data));
    List<String> clear = clearRelationFiles(fixture);
    assertThat(clear).contains("base/16384/1259", "global/1260");
    assertThat(verify.out())
        .contains("This is a cluster of pg_tde: " + clear.size() + " relation files are clear:")
        .contains("nothing found in " + data);
    assertThat(
            verify
                .out()
                .lines()
                .dropWhile(line -> !line.startsWith("This is a cluster"))
                .filter(line -> line.startsWith("  "))
                .map(String::strip))
        .containsExactlyInAnyOrderElementsOf(clear);
    assertThat(Tree.difference(before, Tree.of(data))).isEmpty();
  }

  private static Command.Result ok(Command.Result result) {
    assertThat(result.code()).as(result.all()).isZero();
    return result;
  }

  private static boolean holdsAnything(Path file) {
    try {
      for (byte b : Files.readAllBytes(file)) {
        if (b != 0) {
          return true;
        }
      }
      return false;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Files of relations that hold a page that is not all zero, less those of relations that the
   * server said are encrypted.
   */
  private static List<String> clearRelationFiles(FixtureTruth fixture) throws Exception {
    List<String> encrypted =
        fixture.relations().stream()
            .filter(FixtureTruth.Relation::encrypted)
            .flatMap(r -> r.files().stream())
            .map(f -> fixture.data().relativize(f.stored()).toString())
            .toList();
    try (Stream<Path> files = Files.walk(fixture.data())) {
      return files
          .filter(Files::isRegularFile)
          .filter(PgTdeFixtureTest::holdsAnything)
          .map(f -> fixture.data().relativize(f).toString())
          .filter(f -> f.matches("(base/\\d+|global)/\\d+(_fsm|_vm|_init)?(\\.\\d+)?"))
          .filter(f -> !encrypted.contains(f))
          .toList();
    }
  }
}
