package io.pgveil.datadir.check;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.keys.ChangeProvider;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.Scope;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The fixture {@code fx-aes128}: a cluster that a real pg_tde server wrote, with its keyrings. It
 * lies outside the project.
 */
final class Fixture {
  private static final String ARCHIVE = "fx-aes128.tar.zst";

  private Fixture() {}

  /** Unpacks it and makes its providers find the keyrings; skips the test if it is not there. */
  static Path unpack(Path into) throws IOException, InterruptedException, KeyException {
    Optional<Path> archive = find();
    assumeTrue(
        archive.isPresent(),
        "no fixture "
            + ARCHIVE
            + ": neither system property pgveil.fixtures nor shared/fixtures above");
    assumeTrue(hasZstd(), "no program zstd to unpack the fixture");
    Process tar =
        new ProcessBuilder(
                "tar",
                "--zstd",
                "--no-same-owner",
                "-xf",
                archive.orElseThrow().toString(),
                "-C",
                into.toString())
            .inheritIO()
            .start();
    if (tar.waitFor() != 0) {
      throw new IOException("tar cannot unpack " + archive);
    }
    Path root = into.resolve("fx-aes128");
    Path data = root.resolve("data");
    try (KeyDirectory keys =
        KeyDirectory.open(
            data.resolve("pg_tde"), new KeyDirectory.Settings(List.of(data), CipherType.AES_128))) {
      new ChangeProvider(
              Scope.SERVER, "file", "fx-global-file", options(root.resolve("keyring.file")))
          .run(keys);
      new ChangeProvider(
              Scope.database(16386),
              "file",
              "fx-local-file",
              options(root.resolve("keyring-local.file")))
          .run(keys);
    }
    return data;
  }

  private static String options(Path keyring) {
    return "{\"path\" : \"" + keyring + "\"}";
  }

  private static Optional<Path> find() {
    String given = System.getProperty("pgveil.fixtures");
    Stream<Path> directories =
        given != null
            ? Stream.of(Path.of(given))
            : Stream.iterate(Path.of("").toAbsolutePath(), dir -> dir != null, Path::getParent)
                .map(dir -> dir.resolve("shared").resolve("fixtures"));
    return directories.map(dir -> dir.resolve(ARCHIVE)).filter(Files::exists).findFirst();
  }

  private static boolean hasZstd() {
    return Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
        .anyMatch(dir -> Files.isExecutable(Path.of(dir, "zstd")));
  }
}
