package io.pgveil.datadir.check;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.keys.CipherType;
import io.pgveil.keys.KeyDirectory;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The verifier agrees with what a real pg_tde server wrote. */
class FixtureVerifyTest {
  @TempDir Path dir;

  @Test
  void aClusterOfPgTdeIsClean() throws Exception {
    Path data = Fixture.unpack(dir);
    KeyDirectory.Settings settings =
        new KeyDirectory.Settings(List.of(data), CipherType.AES_128, true);
    try (KeyDirectory keys = KeyDirectory.open(data.resolve("pg_tde"), settings)) {
      Report report =
          new Verifier(data, keys, new Verifier.Options(List.of(), 2)).verify((done, total) -> {});
      report.counts().forEach((c, n) -> System.out.println(c.text() + " " + n));
      report.findings().forEach(System.out::println);
      System.out.println(report.clearFiles().size());
      assertThat(report.mode()).isEqualTo(Report.Mode.PG_TDE);
      assertThat(report.isClean()).isTrue();
    }
  }
}
