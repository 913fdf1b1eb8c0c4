package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every path of spec/postgres-files section 1 has the file kind that the design gives it. */
class PlaceTest {

  @ParameterizedTest
  @CsvSource({
    "base/5/16384, RELATION",
    "base/5/16384_fsm, RELATION",
    "base/5/16384_vm.3, RELATION",
    "base/5/16384_init, RELATION",
    "base/5/16384.1, RELATION",
    "base/5/4294967295, RELATION",
    "base/5/4294967296, SEALED",
    "base/5/016384, SEALED",
    "base/5/16384.0, SEALED",
    "base/5/16384.32768, SEALED",
    "base/5/16384_foo, SEALED",
    "base/5/.16384.AbCdEf, SEALED",
    "base/5/t3_16384, TEMP_RELATION",
    "base/5/t3_16384_fsm, TEMP_RELATION",
    "base/5/pg_filenode.map, SEALED",
    "base/5/pg_internal.init.123, SEALED",
    "base/5/PG_VERSION, SEALED",
    "base/pgsql_tmp/pgsql_tmp12.0, SPILL",
    "base/pgsql_tmp/pgsql_tmp12.0.fileset/i10of32.p0.0, SPILL",
    "base/16384/pgsql_tmp12.0, SPILL",
    "global/1260, RELATION",
    "global/pg_control, SEALED",
    "global/pg_filenode.map, SEALED",
    "pg_tblspc/16400/PG_15_202209061/5/16401, RELATION",
    "pg_tblspc/16400/PG_15_202209061/pgsql_tmp/pgsql_tmp9.1, SPILL",
    "pg_wal/000000010000000000000001, WAL_SEGMENT",
    "pg_wal/000000010000000000000001.partial, WAL_SEGMENT",
    "pg_wal/00000001000000000000000a, SEALED",
    "pg_wal/00000002.history, SEALED",
    "pg_wal/000000010000000000000002.00000028.backup, SEALED",
    "pg_wal/xlogtemp.4711, WAL_TEMPORARY",
    "pg_wal/RECOVERYXLOG, WAL_TEMPORARY",
    "pg_wal/RECOVERYHISTORY, SEALED",
    "pg_wal/archive_status/000000010000000000000001.ready, SEALED",
    "pg_wal/summaries/temp.summary, SEALED",
    "pg_xact/0000, SEALED",
    "pg_replslot/s/state, SEALED",
    "pg_replslot/s/xid-731-lsn-0-1000000.spill, SPILL",
    "pg_stat_tmp/global.stat, SPILL",
    "pg_stat/pgstat.stat, SEALED",
    "pg_logical/snapshots/0-1.snap, SEALED",
    "log/postgresql.log, SEALED",
    "postmaster.pid, SEALED",
    "1234, SEALED",
    "pg_tde/wal_keys, KEY_FILE",
    "pg_tde/5_keys, KEY_FILE",
  })
  void pathsHaveTheirKind(String path, FileKind kind) {
    Place place = Place.DATA_DIRECTORY;
    String[] parts = path.split("/");
    for (int i = 0; i < parts.length - 1; i++) {
      place = place.directory(parts[i]);
    }
    assertThat(place.file(parts[parts.length - 1])).isEqualTo(kind);
  }

  @Test
  void relationPartsAreReadFromTheName() {
    Place db =
        Place.DATA_DIRECTORY
            .directory("pg_tblspc")
            .directory("16400")
            .directory("PG_16_1")
            .directory("5");
    assertThat(db.relationFile("16401_vm.7"))
        .isEqualTo(new RelationFile(16400, 5, 16401, -1, 2, 7));
    assertThat(db.relationFile("t12_9_init")).isEqualTo(new RelationFile(16400, 5, 9, 12, 3, 0));
    assertThat(Place.DATA_DIRECTORY.directory("global").relationFile("1262"))
        .isEqualTo(new RelationFile(1664, 0, 1262, -1, 0, 0));
  }

  @Test
  void walNamesGiveTimelineAndSegment() {
    WalFileName f = WalFileName.parse("0000000A00000002000000FF");
    assertThat(f).isNotNull();
    assertThat(f.timeline()).isEqualTo(10);
    assertThat(f.segmentNumber(16 << 20)).isEqualTo(2 * 256 + 255);
    assertThat(f.segmentNumber(1 << 20)).isEqualTo(2 * 4096 + 255);
  }

  /** Seen failing: the comparison in Place.holdsTheSameAs; true for base/5 and base/6. */
  @Test
  void hazard3SlotDirectoriesKeepTheirMeaningWhenRenamed() {
    Place slots = Place.DATA_DIRECTORY.directory("pg_replslot");
    assertThat(slots.directory("a.tmp").holdsTheSameAs(slots.directory("a"))).isTrue();
    Place base = Place.DATA_DIRECTORY.directory("base");
    assertThat(base.directory("5").holdsTheSameAs(base.directory("6"))).isFalse();
  }
}
