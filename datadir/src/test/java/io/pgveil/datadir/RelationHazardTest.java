package io.pgveil.datadir;

import static io.pgveil.datadir.Cluster.bytes;
import static io.pgveil.datadir.Cluster.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Keys of relations (hazards 1 and 2), partial pages (8) and temporary relations. */
class RelationHazardTest {
  @TempDir Path temp;
  private Cluster c;
  private final List<Cluster> others = new ArrayList<>();

  @BeforeEach
  void open() throws Exception {
    c = Cluster.create(temp);
  }

  @AfterEach
  void close() {
    others.forEach(Cluster::close);
    c.close();
  }

  private Cluster killed() throws Exception {
    Cluster k = c.killed();
    others.add(k);
    return k;
  }

  // ---- hazard 1 ----

  /**
   * Fact H. Seen failing: isDurable in RelationContent.storeCipher; "pwrite base/5/20000 @0" and
   * more came early.
   */
  @Test
  void hazard1NoCipherByteIsWrittenBeforeItsKeyIsDurable() {
    List<String> early = new ArrayList<>();
    c.backing.before =
        call -> {
          if (call.what().equals("pwrite") && call.path().startsWith("base/5/") && !call.isZero()) {
            String digits = call.path().replaceAll("^base/5/([0-9]*).*", "$1");
            int rel = digits.isEmpty() ? 0 : Integer.parseInt(digits);
            if (rel != 0 && !c.keys.relationKeys(5).isDurable(Place.DEFAULT_TABLESPACE, rel)) {
              early.add(call.toString());
            }
          }
        };
    for (int rel = 20000; rel < 20040; rel++) {
      String path = "base/5/" + rel;
      c.write(path, page(rel));
      c.write(path + "_fsm", page(rel + 1));
      if (rel % 3 == 0) {
        assertThat(c.fsync(path)).isZero();
      }
      if (rel % 5 == 0) {
        assertThat(c.rename(path, "base/5/" + (rel + 1000))).isZero();
      }
    }
    c.write("base/5/.20100.AbCdEf", page(1));
    assertThat(c.rename("base/5/.20100.AbCdEf", "base/5/20100")).isZero();
    c.data.housekeeping();
    assertThat(early).isEmpty();
    assertThat(c.read("base/5/20001_fsm")).isEqualTo(page(20002));
    assertThat(c.read("base/5/20100")).isEqualTo(page(1));
  }

  /**
   * Seen failing: the waiting pages in RelationContent.storeCipher, makeDurable for each file
   * instead; 300 fsyncs instead of 2.
   */
  @Test
  void hazard1OneSyncCoversHundredsOfFiles() {
    c.write("base/5/20000", page(1));
    c.data.housekeeping();
    long before = c.keys.fsyncs();
    for (int rel = 20001; rel < 20301; rel++) {
      c.write("base/5/" + rel, page(rel));
    }
    c.data.housekeeping();
    assertThat(c.keys.fsyncs() - before).isLessThanOrEqualTo(2);
    assertThat(killedRead("base/5/20300")).isEqualTo(page(20300));
  }

  private byte[] killedRead(String path) {
    try {
      return killed().read(path);
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  /** Seen failing: the overlay in RelationContent.readCipher; zeros where page 1 was expected. */
  @Test
  void hazard1DeferredPagesAreReadAndSurviveFsync() throws Exception {
    try (Cluster.Handle h = c.create("base/5/20000")) {
      assertThat(h.write(0, page(1))).isEqualTo(8192);
      assertThat(h.write(8192 + 4096, Arrays.copyOf(page(2), 4096))).isEqualTo(4096);
      assertThat(c.backing.recorded(x -> x.is("pwrite", "base/5/20000"))).isEmpty();
      byte[] all = h.all();
      assertThat(all).hasSize(16384).startsWith(page(1));
      assertThat(Arrays.copyOfRange(all, 12288, 16384)).isEqualTo(Arrays.copyOf(page(2), 4096));
      assertThat(h.fsync()).isZero();
      assertThat(killed().read("base/5/20000")).isEqualTo(all);
    }
  }

  /** Seen failing: writeWaiting in View.fsync; the second file does not hold its page. */
  @Test
  void hazard1OneSyncWritesWhatWaitsInAllNewFiles() throws Exception {
    c.write("base/5/20000", page(1));
    c.write("base/5/20001", page(2));
    c.write("base/5/20002", page(3));
    assertThat(c.fsync("base/5/20000")).isZero();
    Cluster k = killed();
    assertThat(k.read("base/5/20001")).isEqualTo(page(2));
    assertThat(k.read("base/5/20002")).isEqualTo(page(3));
  }

  /**
   * Seen failing: the flush in View.lseek, so that cp would copy zeros; -6 (ENXIO) instead of data.
   */
  @Test
  void hazard1DeferredPagesAreNoHole() {
    try (Cluster.Handle h = c.create("base/5/20000")) {
      h.write(8192, page(1));
      long data = c.fs.lseek(h.node, h.handle, 0, Posix.SEEK_DATA);
      assertThat(data).isBetween(0L, 8192L);
      assertThat(c.fs.lseek(h.node, h.handle, 8192, Posix.SEEK_HOLE)).isEqualTo(16384);
    }
  }

  /**
   * What waits for room on the disk is another matter: {@link DiskHazardTest}. Seen failing: the
   * error that OpenFile.flush keeps; 0 instead of -5.
   */
  @Test
  void hazard1FailedFlushOfDeferredPagesIsAnErrorForWhoSyncs() {
    c.write("base/5/20000", page(1));
    c.backing.failWith(Errno.EIO, x -> x.is("pwrite", "base/5/20000"));
    c.data.housekeeping();
    c.backing.work();
    assertThat(c.fsync("base/5/20000")).isEqualTo(-Errno.EIO);
    assertThat(c.read("base/5/20000")).isEqualTo(page(1));
    assertThat(c.truncate("base/5/20000", 0)).isZero();
    assertThat(c.fsync("base/5/20000")).isZero();
  }

  /**
   * Seen failing: the errors that OpenFile.flush and sync keep; 0 instead of -5 at the second sync.
   */
  @Test
  void hazard11FailedKeySyncPoisonsTheFile() throws Exception {
    c.write("base/5/20000", page(1));
    Path keyFile = c.cipher("pg_tde/5_keys");
    Path away = temp.resolve("away");
    Files.move(keyFile, away);
    assertThat(c.fsync("base/5/20000")).isEqualTo(-Errno.EIO);
    assertThat(c.backing.recorded(x -> x.is("pwrite", "base/5/20000") && !x.isZero())).isEmpty();
    Files.move(away, keyFile);
    assertThat(c.fsync("base/5/20000")).isEqualTo(-Errno.EIO);
  }

  /**
   * Fact H. Seen failing: isAllZero in RelationContent.ciphers; 8192 instead of -5 at the read. The
   * new key for a full overwrite; -5 instead of 8192.
   */
  @Test
  void hazard1FileWithoutKeyIsNeverResetButCanBeThrownAway() throws Exception {
    for (int rel = 20000; rel < 20006; rel++) {
      c.write("base/5/" + rel, page(rel));
      c.fsync("base/5/" + rel);
    }
    c.write("base/5/20010", new byte[16384]);
    c.write("base/5/20011", new byte[0]);
    c.fsync("base/5/20010");
    Files.delete(c.cipher("pg_tde/5_keys"));
    Cluster k = killed();

    assertThat(k.openError("base/5/20000", Posix.O_RDWR)).isZero();
    assertThat(k.readError("base/5/20000")).isEqualTo(-Errno.EIO);
    try (Cluster.Handle h = k.open("base/5/20000")) {
      assertThat(h.write(4096, new byte[100])).isEqualTo(-Errno.EIO);
    }
    assertThat(k.keys.relationKeys(5).contains(1663, 20000)).isFalse();
    assertThat(k.cipherBytes("base/5/20000")).isEqualTo(c.cipherBytes("base/5/20000"));

    assertThat(k.truncate("base/5/20001", 0)).isZero();
    k.write("base/5/20001", page(7));
    assertThat(k.read("base/5/20001")).isEqualTo(page(7));
    assertThat(k.unlink("base/5/20002")).isZero();
    try (Cluster.Handle h = k.open("base/5/20003")) {
      assertThat(h.write(0, page(8))).isEqualTo(8192);
      assertThat(h.all()).isEqualTo(page(8));
    }
    // all zero, and empty: a new key
    try (Cluster.Handle h = k.open("base/5/20010")) {
      assertThat(h.all()).isEqualTo(new byte[16384]);
      assertThat(h.write(8192, page(9))).isEqualTo(8192);
      assertThat(h.fsync()).isZero();
    }
    k.write("base/5/20011", page(10));
    assertThat(k.fsync("base/5/20011")).isZero();
    try (Cluster again = k.killed()) {
      assertThat(Arrays.copyOfRange(again.read("base/5/20010"), 8192, 16384)).isEqualTo(page(9));
      assertThat(again.read("base/5/20011")).isEqualTo(page(10));
    }
  }

  /**
   * A new fork must not give a relation a key that its other files were not written with: they
   * would read as noise instead of EIO. Seen failing: requireEmptyBut in
   * RelationFiles.createMissing; 8192 instead of -5.
   */
  @Test
  void hazard1NewForkDoesNotResetARelationThatLostItsKey() throws Exception {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    Files.delete(c.cipher("pg_tde/5_keys"));
    Cluster k = killed();
    try (Cluster.Handle h = k.create("base/5/20000_fsm")) {
      assertThat(h.write(0, page(2))).isEqualTo(-Errno.EIO);
    }
    assertThat(k.readError("base/5/20000")).isEqualTo(-Errno.EIO);
  }

  // ---- hazard 2 ----

  /**
   * Fact A. Seen failing: the other forks in RelationFiles.removed, so that the key goes with the
   * main fork; the init fork cannot be read.
   */
  @Test
  void hazard2InitForkOutlivesTheMainFork() throws Exception {
    c.write("base/5/20000", page(1));
    c.write("base/5/20000_init", page(2));
    c.write("base/5/20000_fsm", page(3));
    for (String f : List.of("", "_init", "_fsm")) {
      assertThat(c.fsync("base/5/20000" + f)).isZero();
    }
    assertThat(c.unlink("base/5/20000")).isZero();
    assertThat(c.unlink("base/5/20000_fsm")).isZero();
    c.data.housekeeping();
    Cluster k = killed();
    assertThat(k.read("base/5/20000_init")).isEqualTo(page(2));
    // recovery copies _init to the main fork
    k.write("base/5/20000", page(2));
    assertThat(k.read("base/5/20000")).isEqualTo(page(2));
    k.data.housekeeping();
    assertThat(k.cipherBytes("base/5/20000"))
        .as("the init fork is the main fork byte for byte")
        .isEqualTo(k.cipherBytes("base/5/20000_init"));
  }

  /**
   * Fact B. Seen failing: the files that are there in RelationFiles.beforeCreate, so that each
   * brings a key; 20000_vm reads as noise.
   */
  @Test
  void hazard2ForksAndSegmentsInAnyOrderShareOneKey() throws Exception {
    List<String> names = List.of("20000_vm", "20000.2", "20000_init", "20000_fsm", "20000");
    for (String n : names) {
      c.write("base/5/" + n, page(n.hashCode()));
      assertThat(c.fsync("base/5/" + n)).isZero();
    }
    assertThat(c.keys.relationKeys(5).entries()).hasSize(1);
    Cluster k = killed();
    for (String n : names) {
      assertThat(k.read("base/5/" + n)).as(n).isEqualTo(page(n.hashCode()));
    }
    for (String n : List.of("20000", "20000_vm", "20000_fsm", "20000.2")) {
      assertThat(k.unlink("base/5/" + n)).isZero();
      k.data.housekeeping();
      assertThat(k.read("base/5/20000_init")).isEqualTo(page("20000_init".hashCode()));
    }
    assertThat(k.unlink("base/5/20000_init")).isZero();
    k.data.housekeeping();
    assertThat(k.keys.relationKeys(5).entries()).isEmpty();
  }

  /** Seen failing: DataDirectory.endOrphanKeys; the key is still on disk. */
  @Test
  void hazard2KeysEndThoughTheirDatabaseIsNeverChangedAgain() throws Exception {
    assertThat(c.mkdir("base/16384")).isZero();
    for (String path : List.of("base/5/20000", "base/5/20001", "base/16384/20002")) {
      c.write(path, page(1));
      assertThat(c.fsync(path)).isZero();
    }
    // the daemon dies after the unlink and the rmdir, before the keys end
    Files.delete(c.cipher("base/5/20000"));
    Files.delete(c.cipher("base/16384/20002"));
    Files.delete(c.cipher("base/16384"));
    Cluster k = killed();
    k.data.housekeeping();
    assertThat(k.keyOnDisk(5, 20000)).as("somebody may still put the files back").isTrue();
    assertThat(k.keyOnDisk(16384, 20002)).isTrue();
    k.write("postmaster.pid", bytes(1, 60));
    k.data.housekeeping();
    assertThat(k.keyOnDisk(5, 20000)).isFalse();
    assertThat(k.exists("pg_tde/16384_keys")).isFalse();
    assertThat(k.read("base/5/20001")).isEqualTo(page(1));
  }

  /**
   * Seen failing: syncDirectory in RelationFiles.reap; the key went although the directory could
   * not be synced.
   */
  @Test
  void hazard2KeyEndsAfterTheUnlinkIsDurable() throws Exception {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    assertThat(c.unlink("base/5/20000")).isZero();
    assertThat(c.keyOnDisk(5, 20000)).isTrue();
    c.backing.failWith(Errno.EIO, x -> x.what().equals("fsync"));
    c.data.housekeeping();
    assertThat(c.keyOnDisk(5, 20000)).as("the directory could not be synced").isTrue();
    c.backing.work();
    c.data.housekeeping();
    assertThat(c.keyOnDisk(5, 20000)).isFalse();
  }

  /**
   * Seen failing: the new key of a known name in RelationFiles.beforeCreate; the same cipher bytes.
   */
  @Test
  void hazard2NameThatComesBackHasANewKey() throws Exception {
    for (boolean reaped : new boolean[] {false, true}) {
      c.write("base/5/20000", page(1));
      assertThat(c.fsync("base/5/20000")).isZero();
      byte[] first = c.cipherBytes("base/5/20000");
      assertThat(c.unlink("base/5/20000")).isZero();
      if (reaped) {
        c.data.housekeeping();
      }
      c.write("base/5/20000", page(1));
      assertThat(c.fsync("base/5/20000")).isZero();
      assertThat(c.cipherBytes("base/5/20000")).isNotEqualTo(first);
      assertThat(killed().read("base/5/20000")).isEqualTo(page(1));
      assertThat(c.unlink("base/5/20000")).isZero();
      c.data.housekeeping();
    }
  }

  /** Seen failing: syncDirectory in RelationFiles.beforeCreate; no fsync before the open. */
  @Test
  void hazard2NameComesBackOnlyWhenTheOldFileIsDurablyGone() {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    c.unlink("base/5/20000");
    c.backing.clear();
    c.create("base/5/20000").close();
    List<String> order =
        c.backing.recorded(x -> true).stream().map(RecordingBacking.Call::what).toList();
    assertThat(order).containsSubsequence("fsync", "open");
  }

  /**
   * Seen failing: the users in View.unlinked, so that it closes the file; -2 (ENOENT) at the old
   * handle.
   */
  @Test
  void hazard2UnlinkedFileIsReadAndWrittenByWhoHasItOpen() throws Exception {
    Cluster.Handle old = c.create("base/5/20000");
    old.write(0, page(1));
    Cluster.Handle empty = c.create("base/5/20001");
    assertThat(c.unlink("base/5/20000")).isZero();
    assertThat(c.unlink("base/5/20001")).isZero();
    c.data.housekeeping();
    c.write("base/5/20000", page(2));
    c.write("base/5/20001", page(3));
    assertThat(c.fsync("base/5/20001")).isZero();
    assertThat(old.all()).isEqualTo(page(1));
    assertThat(old.write(8192, page(4))).isEqualTo(8192);
    assertThat(empty.write(0, page(5))).isEqualTo(8192);
    assertThat(old.read(8192, 8192)).isEqualTo(page(4));
    assertThat(empty.all()).isEqualTo(page(5));
    old.close();
    empty.close();
    assertThat(c.read("base/5/20000")).isEqualTo(page(2));
    assertThat(killed().read("base/5/20001")).isEqualTo(page(3));
  }

  /**
   * A write to an unlinked empty file must not leave a key behind, nor replace another's. Seen
   * failing: the count of files in RelationFiles.createMissing; an entry is left.
   */
  @Test
  void hazard2UnlinkedEmptyFileMakesNoKeyUnderItsOldName() throws Exception {
    c.create("base/5/20000").close();
    Cluster k = killed();
    others.add(k);
    Cluster.Handle h = k.open("base/5/20000");
    assertThat(k.unlink("base/5/20000")).isZero();
    k.data.housekeeping();
    h.write(0, page(1));
    assertThat(h.all()).isEqualTo(page(1));
    h.close();
    assertThat(k.keys.relationKeys(5).entries()).isEmpty();
  }

  /** Seen failing: dropDatabase in RelationFiles.endKeyFile; the key file is still there. */
  @Test
  void hazard2DropDatabaseRemovesItsKeyFileAfterTheDirectoryIsDurablyGone() {
    assertThat(c.mkdir("base/7")).isZero();
    c.write("base/7/20000", page(1));
    c.fsync("base/7/20000");
    assertThat(c.exists("pg_tde/7_keys")).isTrue();
    assertThat(c.unlink("base/7/20000")).isZero();
    c.backing.failWith(Errno.EIO, x -> x.what().equals("fsync"));
    assertThat(c.rmdir("base/7")).isZero();
    assertThat(c.exists("pg_tde/7_keys")).isTrue();
    assertThat(c.keys.relationKeys(7).count()).as("the rmdir is not durable").isEqualTo(1);
    c.backing.work();
    c.mkdir("base/7");
    c.write("base/7/20000", page(2));
    c.unlink("base/7/20000");
    assertThat(c.rmdir("base/7")).isZero();
    assertThat(c.exists("pg_tde/7_keys")).isFalse();
  }

  /**
   * ALTER DATABASE SET TABLESPACE: the copy is there, a crash, and redo removes the source. Seen
   * failing: the tablespace in RelationFiles.directoryRemoved; the copy cannot be read.
   */
  @Test
  void hazard2MovedDatabaseKeepsItsKeysWhenTheSourceGoes() throws Exception {
    c.mkdir("base/7");
    c.write("base/7/20000", page(1));
    for (String d : List.of("16400", "16400/PG_15_1", "16400/PG_15_1/7")) {
      assertThat(c.mkdir("pg_tblspc/" + d)).isZero();
    }
    c.write("pg_tblspc/16400/PG_15_1/7/20000", page(1));
    assertThat(c.fsync("pg_tblspc/16400/PG_15_1/7/20000")).isZero();
    assertThat(c.fsync("base/7/20000")).isZero();
    Cluster k = killed();
    assertThat(k.unlink("base/7/20000")).isZero();
    assertThat(k.rmdir("base/7")).isZero();
    k.data.housekeeping();
    assertThat(k.read("pg_tblspc/16400/PG_15_1/7/20000")).isEqualTo(page(1));
    try (Cluster again = k.killed()) {
      assertThat(again.read("pg_tblspc/16400/PG_15_1/7/20000")).isEqualTo(page(1));
      assertThat(again.unlink("pg_tblspc/16400/PG_15_1/7/20000")).isZero();
      assertThat(again.rmdir("pg_tblspc/16400/PG_15_1/7")).isZero();
      assertThat(again.exists("pg_tde/7_keys")).as("the database is gone").isFalse();
    }
  }

  /** Seen failing: the entries without files in RelationFiles.counts; the key is still there. */
  @Test
  void hazard2OrphanEntriesOfAKilledDaemonGoAtTheNextStart() throws Exception {
    c.write("base/5/20000", page(1));
    c.write("base/5/20001", page(1));
    c.fsync("base/5/20000");
    c.fsync("base/5/20001");
    c.unlink("base/5/20000");
    Cluster k = killed();
    assertThat(k.keys.relationKeys(5).contains(1663, 20000)).isTrue();
    k.create("base/5/20002").close();
    k.data.housekeeping();
    assertThat(k.keys.relationKeys(5).contains(1663, 20000)).isFalse();
    assertThat(k.read("base/5/20001")).isEqualTo(page(1));
  }

  // ---- hazard 8 ----

  /**
   * Seen failing: the exception in RelationContent.xorTail, so that one byte in 256 becomes zero;
   * byte 125 reads as 0.
   */
  @Test
  void hazard8EveryTailOfOneByteReadsBack() throws Exception {
    try (Cluster.Handle h = c.create("base/5/20000")) {
      for (int v = 0; v < 256; v++) {
        assertThat(h.write(8192, new byte[] {(byte) v})).isEqualTo(1);
        assertThat(h.read(8192, 8)).as("byte " + v).isEqualTo(new byte[] {(byte) v});
      }
    }
  }

  /** Seen failing: the read in RelationContent.loadIfPartial; the other half is zeros. */
  @Test
  void hazard8HalfPagesAreWrittenWhole() throws Exception {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    c.backing.clear();
    try (Cluster.Handle h = c.open("base/5/20000")) {
      h.write(4096, Arrays.copyOf(page(2), 4096));
    }
    List<RecordingBacking.Call> writes = c.backing.recorded(x -> x.what().equals("pwrite"));
    assertThat(writes).hasSize(1);
    assertThat(writes.get(0).bytes()).hasSize(8192);
    byte[] want = page(1);
    System.arraycopy(page(2), 0, want, 4096, 4096);
    assertThat(c.read("base/5/20000")).isEqualTo(want);
  }

  /**
   * Seen failing: the whole page in PageCipher.decrypt, 32 zero bytes are enough, as for pg_tde;
   * the chosen bytes are shown as they are.
   */
  @Test
  void hazard9OnlyAWhollyZeroPageIsStoredRaw() throws Exception {
    byte[] almost = new byte[8192];
    almost[8191] = 1;
    c.write("base/5/20000", almost);
    c.write("base/5/20001", new byte[8192]);
    c.fsync("base/5/20000");
    c.fsync("base/5/20001");
    assertThat(c.cipherBytes("base/5/20001")).isEqualTo(new byte[8192]);
    assertThat(Arrays.copyOf(c.cipherBytes("base/5/20000"), 32)).isNotEqualTo(new byte[32]);
    assertThat(c.read("base/5/20000")).isEqualTo(almost);
    // zeros and then 8160 chosen bytes are not shown as they are
    byte[] chosen = page(3);
    Arrays.fill(chosen, 0, 32, (byte) 0);
    Cluster k = killed();
    Files.write(k.cipher("base/5/20000"), chosen);
    assertThat(k.read("base/5/20000")).isNotEqualTo(chosen);
  }

  // ---- files of an earlier daemon run ----

  /** Fails when open, truncate or unlink need the key that is lost with the daemon. */
  @Test
  void tempRelationsAndSpillFilesOfAnEarlierRunCanBeRemoved() throws Exception {
    c.mkdir("base/pgsql_tmp");
    c.mkdir("base/pgsql_tmp/pgsql_tmp1.0.fileset");
    c.mkdir("pg_replslot/s");
    List<String> files =
        List.of(
            "base/5/t3_20000",
            "base/5/t3_20000_fsm",
            "base/pgsql_tmp/pgsql_tmp9.1",
            "base/pgsql_tmp/pgsql_tmp1.0.fileset/i1of2.p0.0",
            "pg_replslot/s/xid-1-lsn-0-1.spill");
    for (String f : files) {
      c.write(f, bytes(1, 10_000));
      assertThat(c.read(f)).isEqualTo(bytes(1, 10_000));
    }
    assertThat(c.exists("pg_tde/5_keys")).as("temp relations need no stored key").isFalse();
    Cluster k = killed();
    for (String f : files) {
      assertThat(k.stat(f).size).isEqualTo(10_000);
      assertThat(k.readError(f)).as(f).isEqualTo(-Errno.EIO);
      assertThat(k.openError(f, Posix.O_RDWR)).isZero();
      assertThat(k.truncate(f, 0)).as(f).isZero();
      assertThat(k.stat(f).size).isZero();
      k.write(f, bytes(2, 9000));
      assertThat(k.read(f)).isEqualTo(bytes(2, 9000));
      assertThat(k.unlink(f)).isZero();
    }
  }
}
