package io.pgveil.app;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.EncryptedStorage;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Commands on a data directory of pg_tde, whose server may be running. */
class PgTdeClusterTest {
  @TempDir Path root;

  private Path data;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** As a server leaves it that is in the middle of a rotation. */
  @BeforeEach
  void makeCluster() throws IOException {
    data = Files.createDirectory(root.resolve("data"));
    Files.writeString(data.resolve("PG_VERSION"), "17\n");
    Path keys = Files.createDirectory(data.resolve("pg_tde"));
    Files.write(keys.resolve("wal_keys.r"), new byte[320]);
    Files.createFile(data.resolve("postmaster.pid"));
  }

  private int run(String... args) {
    return Main.commandLine(new EncryptedStorage(), false)
        .setOut(new PrintWriter(out, true))
        .setErr(new PrintWriter(err, true))
        .execute(args);
  }

  /** Every path with its last change. */
  private SortedMap<Path, FileTime> everything() throws IOException {
    SortedMap<Path, FileTime> all = new TreeMap<>();
    try (Stream<Path> files = Files.walk(data)) {
      for (Path file : files.toList()) {
        all.put(file, Files.getLastModifiedTime(file));
      }
    }
    return all;
  }

  @ParameterizedTest
  @ValueSource(strings = {"status", "status --json", "key list", "provider list"})
  void lookingChangesNothing(String command) throws Exception {
    SortedMap<Path, FileTime> before = everything();
    int code = run((command + " " + data).split(" "));
    assertThat(code).as(err.toString()).isZero();
    assertThat(everything()).isEqualTo(before);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "key create k --provider p",
        "key set k --provider p --scope server",
        "key move k --from p --to q",
        "key delete --scope 5",
        "provider add p file path=/k",
        "provider change p file path=/k",
        "change-key-provider 1664 p file /k -D",
        "provider delete p"
      })
  void whileTheServerRunsNothingIsChanged(String command) throws Exception {
    SortedMap<Path, FileTime> before = everything();
    assertThat(run((command + " " + data).split(" "))).isEqualTo(ExitCode.KEY_REFUSED.code());
    assertThat(err.toString())
        .contains(data.resolve("postmaster.pid").toString(), "\nremedy: stop the server");
    assertThat(everything()).isEqualTo(before);
  }

  @Test
  void aStoppedClusterCanBePointedToItsKeyring() throws Exception {
    Files.delete(data.resolve("postmaster.pid"));
    for (String command : List.of("add", "change")) {
      String path = "path=" + root.resolve(command);
      int code = run("provider", command, "p", "file", path, data.toString());
      assertThat(code).as(err.toString()).isZero();
    }
    assertThat(run("provider", "list", data.toString())).isZero();
    assertThat(out.toString()).contains(root.resolve("change").toString());
  }
}
