package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The key directory of a cluster that a real pg_tde server wrote. */
class FixtureTest {
  private static final String ARCHIVE = "fx-aes128.tar.zst";

  @TempDir Path root;

  /** {@code -Dpgveil.fixtures=DIR}, or {@code shared/fixtures} beside the project or above it. */
  private static Optional<Path> archive() {
    Stream<Path> places =
        Stream.concat(
            Stream.ofNullable(System.getProperty("pgveil.fixtures")).map(Path::of),
            Stream.iterate(Path.of("").toAbsolutePath(), p -> p != null, Path::getParent)
                .map(p -> p.resolve("shared/fixtures")));
    return places.map(p -> p.resolve(ARCHIVE)).filter(Files::exists).findFirst();
  }

  private void unpack() throws IOException, InterruptedException {
    Optional<Path> archive = archive();
    Assumptions.assumeTrue(archive.isPresent(), ARCHIVE + " is not here");
    List<Process> pipe;
    try {
      pipe =
          ProcessBuilder.startPipeline(
              List.of(
                  new ProcessBuilder("zstd", "-dc", archive.orElseThrow().toString()),
                  new ProcessBuilder(
                      "tar",
                      "x",
                      "-C",
                      root.toString(),
                      "--no-same-owner",
                      "--wildcards",
                      "fx-aes128/keyring*",
                      "fx-aes128/data/pg_tde/*")));
    } catch (IOException e) {
      Assumptions.abort("no zstd or tar here");
      return;
    }
    for (Process p : pipe) {
      assertThat(p.waitFor()).isZero();
    }
  }

  private static void point(KeyDirectory d, Scope owner, String name, Path keyring)
      throws KeyException {
    new ChangeProvider(owner, "file", name, "{\"path\" : \"" + keyring + "\"}").run(d);
  }

  @Test
  void everyKeyOpensAndSurvivesRotation() throws Exception {
    unpack();
    Path cluster = root.resolve("fx-aes128");
    Path directory = cluster.resolve("data/pg_tde");
    KeyDirectory.Settings settings =
        new KeyDirectory.Settings(List.of(cluster.resolve("data")), CipherType.AES_128);
    Scope local = Scope.database(16386);
    try (KeyDirectory d = KeyDirectory.open(directory, settings)) {
      point(d, Scope.SERVER, "fx-global-file", cluster.resolve("keyring.file"));
      point(d, local, "fx-local-file", cluster.resolve("keyring-local.file"));
      assertThat(d.databases()).containsExactly(16384, 16385, 16386);
      assertThat(key(d, Scope.SERVER)).isEqualTo("fx-server-key-2");
      assertThat(key(d, Scope.DEFAULT)).isEqualTo("fx-default-key-2");
      assertThat(key(d, Scope.database(16384))).isEqualTo("fx-db-key-2");
      assertThat(key(d, Scope.database(16385))).isEqualTo("fx-default-key-2");
      assertThat(key(d, local)).isEqualTo("fx-local-key-1");
      assertThat(openAll(d)).isEqualTo(25 + 4 + 4 + 4);
      for (int oid : List.of(1663, 1664, 16384, 16385, 16386)) {
        new VerifyKey(new Scope(oid)).run(d);
      }
      assertThat(d.walKeys().ranges())
          .extracting(WalRange::type)
          .containsExactly(
              WalRange.Type.ENCRYPTED,
              WalRange.Type.ENCRYPTED,
              WalRange.Type.UNENCRYPTED,
              WalRange.Type.ENCRYPTED);
      assertThat(d.walKeys().ranges().get(0).startLsn()).isEqualTo(0xAEC000);

      for (Scope scope : List.of(Scope.SERVER, Scope.DEFAULT, Scope.database(16384))) {
        new CreateKey(Scope.SERVER, "fx-global-file", "new-" + scope.oid(), CipherType.AES_256)
            .run(d);
        new SetKey(scope, Scope.SERVER, "fx-global-file", "new-" + scope.oid()).run(d);
      }
      assertThat(d.sealKeys().exist()).as("the server had a key already").isFalse();
      d.sealKeys().create();
      assertThat(d.sealKeys().activeId()).hasSize(16);
    }
    try (KeyDirectory d = KeyDirectory.open(directory, settings)) {
      assertThat(key(d, Scope.database(16385))).isEqualTo("new-1663");
      assertThat(openAll(d)).isEqualTo(25 + 4 + 4 + 4);
    }
  }

  private static String key(KeyDirectory d, Scope scope) throws KeyException {
    PrincipalKeys.Info info = new KeyInfo(scope).run(d);
    return info == null ? "" : info.name();
  }

  private static int openAll(KeyDirectory d) throws KeyException {
    int opened = 0;
    for (int oid : d.databases()) {
      RelationKeys keys = d.relationKeys(oid);
      assertThat(keys.damagedEntries()).isEmpty();
      for (RelationKeys.Entry e : keys.entries()) {
        assertThat(keys.find(e.tablespaceOid(), e.relNumber())).isNotNull();
        opened++;
      }
    }
    for (WalRange range : d.walKeys().ranges()) {
      assertThat(d.walKeys().key(range)).isNotNull();
      opened++;
    }
    return opened;
  }
}
