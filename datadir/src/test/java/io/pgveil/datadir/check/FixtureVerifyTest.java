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
      assertThat(report.mode()).isEqualTo(Report.Mode.PG_TDE);
      assertThat(report.isClean()).isTrue();
      // what the independent reader in tests/reader measured
      assertThat(report.count(Count.RELATION_FILES)).isEqualTo(44);
      assertThat(report.count(Count.PAGES)).isEqualTo(200);
      assertThat(report.count(Count.ZERO_PAGES)).isEqualTo(14);
      assertThat(report.count(Count.KEYS)).isEqualTo(33);
      assertThat(report.count(Count.WAL_RANGES)).isEqualTo(4);
      assertThat(report.count(Count.WAL_SEGMENTS)).isEqualTo(8);
      assertThat(report.count(Count.CLEAR_WAL_PAGES))
          .isPositive()
          .isLessThan(report.count(Count.WAL_PAGES));
      assertThat(report.count(Count.UNCHECKED_FILES)).isZero();
      assertThat(report.clearFiles())
          .hasSize((int) report.count(Count.CLEAR_RELATION_FILES))
          .contains("base/16384/1259", "global/1260")
          .doesNotContain("base/16385/16632");
      assertThat(report.findings())
          .singleElement()
          .satisfies(
              f -> {
                assertThat(f.object()).isEqualTo("pg_tde/wal_keys");
                assertThat(f.what()).contains("1:0/D44000").contains("in the clear");
              });
    }
  }
}
