package io.pgveil.datadir;

import static io.pgveil.datadir.Cluster.bytes;
import static io.pgveil.datadir.Cluster.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Renames and links, which change a file's kind (hazard 3). */
class RenameHazardTest {
  private static final int MB = 1 << 20;
  private static final String SEG1 = "pg_wal/000000010000000000000001";
  private static final String SEG2 = "pg_wal/000000010000000000000002";
  private static final String SEG3 = "pg_wal/000000010000000000000003";

  @TempDir Path temp;
  private Cluster c;

  @BeforeEach
  void open() throws Exception {
    c = Cluster.create(temp);
  }

  @AfterEach
  void close() {
    c.close();
  }

  /** One segment of 1 MB whose first page has a long header. */
  private static byte[] segment(int timeline, int number) {
    return WalPages.segment(timeline, number, MB, 30);
  }

  /**
   * Fact J. Seen failing: the transcoding in View.Rename.run; nine of ten read noise.
   * isEmptyTemporary, always true; RECOVERYXLOG and xlogtemp read as noise.
   */
  @ParameterizedTest
  @CsvSource({
    "pg_wal/RECOVERYXLOG, pg_wal/000000010000000000000001, 1048576",
    "pg_wal/xlogtemp.12, pg_wal/000000010000000000000001, 1048576",
    "pg_wal/.000000010000000000000001.AbCdEf, pg_wal/000000010000000000000001, 1048576",
    "pg_wal/xlogtemp.12, pg_wal/00000002.history, 43",
    "base/5/.20000.AbCdEf, base/5/20000, 24576",
    "base/5/.20000_fsm.AbCdEf, base/5/20000_fsm, 8193",
    "base/5/20000, base/5/moved.aside, 16384",
    "base/5/20000, base/5/20001, 16384",
    "pg_wal/000000010000000000000001, pg_wal/000000010000000000000001.bak, 1048576",
    "global/pg_filenode.map.tmp, global/pg_filenode.map, 524",
  })
  void hazard3ContentSurvivesEveryRename(String from, String to, int size) throws Exception {
    byte[] content = size == MB ? segment(1, 1) : bytes(size, size);
    c.write(from, content);
    long mtime = 1_700_000_000;
    assertThat(c.setTimes(from, mtime)).isZero();
    assertThat(c.fsync(from)).isZero();
    assertThat(c.rename(from, to)).isZero();
    assertThat(c.node(from)).isEqualTo(-Errno.ENOENT);
    assertThat(c.exists(from)).isFalse();
    assertThat(c.read(to)).isEqualTo(content);
    assertThat(c.stat(to).size).isEqualTo(size);
    assertThat(c.stat(to).mtime).isEqualTo(mtime);
    assertThat(c.leftovers()).isEmpty();
    // it was synced under its old name: a kill right after the rename loses nothing
    try (Cluster k = c.killed()) {
      assertThat(k.read(to)).isEqualTo(content);
      assertThat(k.stat(to).mtime).isEqualTo(mtime);
    }
  }

  /** Seen failing: the fsync in View.replaceBy; "fsync staged" is not found. */
  @Test
  void hazard3TranscodedFileIsSyncedBeforeItTakesTheName() {
    c.write("base/5/.20000.x", page(1));
    c.fsync("base/5/.20000.x");
    c.backing.clear();
    assertThat(c.rename("base/5/.20000.x", "base/5/20000")).isZero();
    List<String> order =
        c.backing.recorded(x -> !x.what().equals("open")).stream()
            .map(
                x ->
                    x.what()
                        + (x.path().startsWith("pg_tde/pgveil.staged") ? " staged" : " " + x.path())
                        + (x.to().isEmpty() ? "" : " " + x.to()))
            .distinct()
            .toList();
    assertThat(order)
        .containsSubsequence(
            "pwrite staged",
            "fsync staged",
            "rename staged base/5/20000",
            "unlink base/5/.20000.x");
  }

  /** Seen failing: the unlink of the staged file in View.replaceBy; three staged files are left. */
  @ParameterizedTest
  @ValueSource(strings = {"open", "pwrite", "fallocate", "ftruncate", "fsync", "rename"})
  void hazard3FullDiskLeavesTheOldNameIntact(String step) throws Exception {
    byte[] content = segment(1, 1);
    c.write("pg_wal/RECOVERYXLOG", content);
    c.write(SEG1, segment(1, 1));
    c.write("base/5/.20000.x", page(1));
    c.write("base/5/20001", page(2));
    c.data.housekeeping();
    c.backing.failWith(
        Errno.ENOSPC, x -> x.what().equals(step) && x.path().contains("pgveil.staged"));
    int wal = c.rename("pg_wal/RECOVERYXLOG", SEG2);
    int page = c.rename("base/5/.20000.x", "base/5/20000");
    int over = c.rename("base/5/.20000.x", "base/5/20001");
    c.backing.work();
    if (wal == 0 && (step.equals("ftruncate") || step.equals("fallocate"))) {
      return; // not needed for this content
    }
    assertThat(wal).isEqualTo(-Errno.ENOSPC);
    if (page != 0) {
      assertThat(page).isEqualTo(-Errno.ENOSPC);
      assertThat(c.exists("base/5/20000")).isFalse();
      if (over == 0) {
        return; // the key of the target is durable, so its pages need no such step
      }
      assertThat(over).isEqualTo(-Errno.ENOSPC);
      assertThat(c.read("base/5/.20000.x")).isEqualTo(page(1));
      assertThat(c.read("base/5/20001")).isEqualTo(page(2));
      assertThat(c.rename("base/5/.20000.x", "base/5/20000")).isZero();
      assertThat(c.read("base/5/20000")).isEqualTo(page(1));
    }
    assertThat(c.exists(SEG2)).isFalse();
    assertThat(c.leftovers()).isEmpty();
    assertThat(c.read("pg_wal/RECOVERYXLOG")).isEqualTo(content);
    assertThat(c.rename("pg_wal/RECOVERYXLOG", SEG2)).isZero();
    assertThat(c.read(SEG2)).isEqualTo(content);
  }

  /**
   * A zero-filled segment stays allocated: PostgreSQL fills it so that a full disk cannot stop it
   * in the middle of a commit. Seen failing: the fallocate in View.replaceBy; 0 bytes allocated
   * after a link.
   */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void hazard3ZeroFilledSegmentStaysAllocated(boolean byLink) throws Exception {
    c.write("pg_wal/xlogtemp.7", new byte[MB]);
    assertThat(c.fsync("pg_wal/xlogtemp.7")).isZero();
    if (byLink) {
      assertThat(c.link("pg_wal/xlogtemp.7", SEG1)).isZero();
      assertThat(c.unlink("pg_wal/xlogtemp.7")).isZero();
    } else {
      assertThat(c.rename("pg_wal/xlogtemp.7", SEG1)).isZero();
    }
    assertThat(c.stat(SEG1).blocks * 512).isGreaterThanOrEqualTo(MB);
    assertThat(c.read(SEG1)).isEqualTo(new byte[MB]);
    assertThat(c.cipherBytes(SEG1)).as("hazard 4: zero fill is raw").isEqualTo(new byte[MB]);
  }

  /** Fact L. Seen failing: replaceBy in View.prepareLink; noise under the new name. */
  @Test
  void hazard3LinkAndUnlinkInstallsWalAndHistory() throws Exception {
    byte[] content = segment(1, 1);
    c.write("pg_wal/xlogtemp.7", content);
    assertThat(c.fsync("pg_wal/xlogtemp.7")).isZero();
    assertThat(c.link("pg_wal/xlogtemp.7", SEG1)).isZero();
    assertThat(c.stat(SEG1).nlink).isEqualTo(2);
    assertThat(c.read(SEG1)).isEqualTo(content);
    assertThat(c.unlink("pg_wal/xlogtemp.7")).isZero();
    c.write("pg_wal/xlogtemp.8", bytes(3, 43));
    assertThat(c.link("pg_wal/xlogtemp.8", "pg_wal/00000002.history")).isZero();
    assertThat(c.unlink("pg_wal/xlogtemp.8")).isZero();
    c.write("pg_wal/xlogtemp.9", content);
    assertThat(c.link("pg_wal/xlogtemp.9", SEG1)).isEqualTo(-Errno.EEXIST);
    assertThat(c.leftovers()).isEmpty();
    try (Cluster k = c.killed()) {
      assertThat(k.read(SEG1)).isEqualTo(content);
      assertThat(k.read("pg_wal/00000002.history")).isEqualTo(bytes(3, 43));
    }
  }

  /**
   * One inode cannot hold two kinds. Seen failing: EXDEV in View.prepareLink; 0 instead of -18, for
   * all five.
   */
  @ParameterizedTest
  @CsvSource({
    "base/5/20000, base/5/20001",
    "base/5/x, base/5/20001",
    "base/5/20000, base/5/x",
    "pg_wal/000000010000000000000001, pg_wal/000000010000000000000002",
    "pg_wal/000000010000000000000001, pg_wal/x",
  })
  void hazard3LinksBetweenKindsAreRefused(String from, String to) {
    byte[] content = from.startsWith("pg_wal") ? segment(1, 1) : page(1);
    c.write(from, content);
    assertThat(c.link(from, to)).isEqualTo(-Errno.EXDEV);
    assertThat(c.read(from)).isEqualTo(content);
    assertThat(c.exists(to)).isFalse();
  }

  /** Seen failing: the permission in View.prepareLink; -18 instead of 0. */
  @Test
  void hazard3SealedFilesCanBeLinked() {
    c.write("a", bytes(1, 700));
    assertThat(c.link("a", "b")).isZero();
    assertThat(c.unlink("a")).isZero();
    assertThat(c.read("b")).isEqualTo(bytes(1, 700));
  }

  /**
   * Under memory pressure the kernel forgets a directory, while a file in it is still open here.
   * Seen failing: the names by an old node in Node.addName; the file is not found.
   */
  @Test
  void hazard3FileIsFoundByItsNewNameThoughItsDirectoryWasForgotten() throws Exception {
    try (Cluster k = Cluster.create(temp, new DataDirectory.Tuning(1, 1, 0), true)) {
      k.write("pg_xact/0000", bytes(1, 700));
      long directory = k.node("pg_xact");
      long file = k.node("pg_xact/0000");
      int references = 100; // more than there are; what is too much is looked up again
      k.fs.forget(file, references);
      k.fs.forget(directory, references);
      assertThat(k.node("pg_xact")).as("a new node").isNotEqualTo(directory);
      for (int i = 0; i <= references; i++) {
        assertThat(k.node("pg_xact/0000")).as("the node of the open file").isEqualTo(file);
      }
      assertThat(k.rename("pg_xact/0000", "pg_xact/0001")).isZero();
      for (String other : List.of("a", "b", "c")) {
        k.write(other, bytes(2, 700)); // closes the file above
      }
      assertThat(k.read("pg_xact/0001")).isEqualTo(bytes(1, 700));
    }
  }

  /** Seen failing: reopenUnderNewName in View.Rename.plain; noise in the first page. */
  @Test
  void hazard3RecycledSegmentIsWrittenUnderItsNewName() throws Exception {
    c.write(SEG1, segment(1, 1));
    try (Cluster.Handle h = c.open(SEG1)) {
      assertThat(c.rename(SEG1, SEG3)).isZero();
      byte[] fresh = segment(1, 3);
      assertThat(h.write(0, Arrays.copyOf(fresh, 8192))).isEqualTo(8192);
      assertThat(h.read(0, 8192)).isEqualTo(Arrays.copyOf(fresh, 8192));
    }
    try (Cluster k = c.killed()) {
      byte[] got = k.read(SEG3);
      assertThat(Arrays.copyOf(got, 8192)).isEqualTo(Arrays.copyOf(segment(1, 3), 8192));
      assertThat(Arrays.copyOfRange(got, 8192, 16384))
          .as("the old content is dead")
          .isNotEqualTo(Arrays.copyOfRange(segment(1, 1), 8192, 16384));
    }
  }

  /**
   * The partial form is the same stretch of WAL. Seen failing: .partial in WalFileName.parse; other
   * cipher bytes.
   */
  @Test
  void hazard3PartialSegmentIsAPlainRename() throws Exception {
    c.write(SEG1, segment(1, 1));
    byte[] cipher = c.cipherBytes(SEG1);
    assertThat(c.rename(SEG1, SEG1 + ".partial")).isZero();
    assertThat(c.cipherBytes(SEG1 + ".partial")).isEqualTo(cipher);
    assertThat(c.read(SEG1 + ".partial")).isEqualTo(segment(1, 1));
    assertThat(c.rename(SEG1 + ".partial", SEG1)).isZero();
    assertThat(c.read(SEG1)).isEqualTo(segment(1, 1));
  }

  /** Seen failing: targetGone in View.Rename.transcode; the node of the old file is still known. */
  @Test
  void hazard3RenameOverAnOpenTarget() throws Exception {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    Cluster.Handle old = c.open("base/5/20000");
    c.write("base/5/.20000.x", page(2));
    Cluster.Handle source = c.open("base/5/.20000.x");
    assertThat(c.rename("base/5/.20000.x", "base/5/20000")).isZero();
    assertThat(old.all()).isEqualTo(page(1));
    assertThat(source.all()).isEqualTo(page(2));
    assertThat(source.write(8192, page(3))).isEqualTo(8192);
    assertThat(c.read("base/5/20000")).hasSize(16384).startsWith(page(2));
    old.close();
    assertThat(c.fs.getattr(old.node, 0, new io.pgveil.fuse.FileSystem.Attributes()))
        .as("closed, and its inode number free to come back")
        .isEqualTo(-Errno.ENOENT);
    source.close();
    assertThat(c.unlink("base/5/20000")).isZero();
    c.data.housekeeping();
    assertThat(c.keys.relationKeys(5).entries()).isEmpty();
  }

  /** Seen failing: RENAME_NOREPLACE in View.rename; 0 instead of -17. */
  @Test
  void hazard3NoReplaceAndExchange() {
    c.write("a", bytes(1, 100));
    c.write("b", bytes(2, 200));
    assertThat(c.rename("a", "b", Posix.RENAME_NOREPLACE)).isEqualTo(-Errno.EEXIST);
    c.write("base/5/.20000.x", page(1));
    c.write("base/5/20000", page(2));
    assertThat(c.rename("base/5/.20000.x", "base/5/20000", Posix.RENAME_NOREPLACE))
        .isEqualTo(-Errno.EEXIST);
    assertThat(c.read("base/5/20000")).isEqualTo(page(2));
    assertThat(c.rename("a", "b", Posix.RENAME_EXCHANGE)).isZero();
    assertThat(c.read("a")).isEqualTo(bytes(2, 200));
    assertThat(c.read("b")).isEqualTo(bytes(1, 100));
    assertThat(c.rename("base/5/.20000.x", "base/5/20000", Posix.RENAME_EXCHANGE))
        .isEqualTo(-Errno.EINVAL);
    assertThat(c.rename("a", "a")).isZero();
    assertThat(c.read("a")).isEqualTo(bytes(2, 200));
  }

  /**
   * Seen failing: EINVAL in View.Rename.directory, a bare renameat instead; e/f where d/f was
   * expected.
   */
  @Test
  void hazard3DirectoriesAreNotExchangedBehindOurBack() {
    c.mkdir("d");
    c.mkdir("e");
    c.write("d/f", bytes(1, 10));
    c.write("e/f", bytes(2, 20));
    long node = c.node("d");
    assertThat(node).isPositive();
    int r = c.rename("d", "e", Posix.RENAME_EXCHANGE);
    assertThat(r).isIn(0, -Errno.EINVAL);
    assertThat(c.read("d/f")).isEqualTo(r == 0 ? bytes(2, 20) : bytes(1, 10));
    assertThat(c.read("e/f")).isEqualTo(r == 0 ? bytes(1, 10) : bytes(2, 20));
  }

  /** Seen failing: moved in View.Rename.directory; the state file is not found. */
  @Test
  void hazard3SlotDirectoryIsRenamed() throws Exception {
    c.mkdir("pg_replslot/s.tmp");
    c.write("pg_replslot/s.tmp/state", bytes(1, 200));
    c.write("pg_replslot/s.tmp/xid-1-lsn-0-1.spill", bytes(2, 3000));
    Cluster.Handle open = c.open("pg_replslot/s.tmp/state");
    assertThat(c.rename("pg_replslot/s.tmp", "pg_replslot/s")).isZero();
    assertThat(c.read("pg_replslot/s/state")).isEqualTo(bytes(1, 200));
    assertThat(open.write(100, bytes(3, 50))).isEqualTo(50);
    assertThat(open.fsync()).isZero();
    assertThat(c.read("pg_replslot/s/xid-1-lsn-0-1.spill")).isEqualTo(bytes(2, 3000));
    open.close();
    try (Cluster k = c.killed()) {
      assertThat(Arrays.copyOf(k.read("pg_replslot/s/state"), 100))
          .isEqualTo(Arrays.copyOf(bytes(1, 200), 100));
    }
  }

  /**
   * Seen failing: targetGone in View.Rename.directory; the node of the replaced one is still known.
   */
  @Test
  void hazard3DirectoryReplacesAnEmptyOne() {
    c.mkdir("d");
    c.mkdir("e");
    c.write("d/f", bytes(1, 10));
    long replaced = c.node("e");
    assertThat(c.rename("d", "e")).isZero();
    assertThat(c.fs.getattr(replaced, 0, new io.pgveil.fuse.FileSystem.Attributes()))
        .isEqualTo(-Errno.ENOENT);
    assertThat(c.read("e/f")).isEqualTo(bytes(1, 10));
  }

  /** Seen failing: EXDEV in View.Rename.directory; 0 instead of -18. */
  @Test
  void hazard3DatabaseDirectoryWithFilesIsNotRenamedToAnother() {
    c.write("base/5/20000", page(1));
    assertThat(c.rename("base/5", "base/6")).isEqualTo(-Errno.EXDEV);
    assertThat(c.read("base/5/20000")).isEqualTo(page(1));
  }

  /** Seen failing: WalTemporaryContent.mustStayOpen; the file cannot be read. */
  @Test
  void hazard3TemporaryWalFileOutlivesManyOtherFiles() throws Exception {
    try (Cluster k = Cluster.create(temp, new DataDirectory.Tuning(2, 2, 0), true)) {
      byte[] content = segment(1, 1);
      k.write("pg_wal/RECOVERYXLOG", content);
      for (int i = 0; i < 20; i++) {
        k.write("base/5/" + (20000 + i), page(i));
      }
      assertThat(k.read("pg_wal/RECOVERYXLOG")).isEqualTo(content);
      assertThat(k.rename("pg_wal/RECOVERYXLOG", SEG1)).isZero();
      assertThat(k.read(SEG1)).isEqualTo(content);
    }
  }

  /**
   * After a daemon restart a temporary WAL file is lost, and says so. Seen failing: the lost key in
   * DataDirectory.content; 8192 instead of -5.
   */
  @Test
  void hazard3TemporaryWalFileOfAnEarlierRunIsNotInstalledAsNoise() throws Exception {
    c.write("pg_wal/RECOVERYXLOG", segment(1, 1));
    c.write("pg_wal/xlogtemp.1", new byte[MB]);
    try (Cluster k = c.killed()) {
      assertThat(k.readError("pg_wal/RECOVERYXLOG")).isEqualTo(-Errno.EIO);
      assertThat(k.rename("pg_wal/RECOVERYXLOG", SEG1)).isEqualTo(-Errno.EIO);
      assertThat(k.truncate("pg_wal/RECOVERYXLOG", 0)).isZero();
      k.write("pg_wal/RECOVERYXLOG", segment(1, 1));
      assertThat(k.rename("pg_wal/RECOVERYXLOG", SEG1)).isZero();
      assertThat(k.read(SEG1)).isEqualTo(segment(1, 1));
      assertThat(k.rename("pg_wal/xlogtemp.1", SEG2)).isZero();
      assertThat(k.read(SEG2)).isEqualTo(new byte[MB]);
    }
  }

  /**
   * A kill between staging and rename leaves a staged file, removed at the next start. Seen
   * failing: the unlink in DataDirectory.removeStaged; pgveil.staged.77 is left.
   */
  @Test
  void hazard3StagedFileOfAKilledDaemonIsRemoved() throws Exception {
    Files.write(c.cipher("pg_tde/pgveil.staged.77"), new byte[10]);
    assertThat(c.list("pg_tde")).doesNotContain("pgveil.staged.77");
    assertThat(c.node("pg_tde/pgveil.staged.77")).isEqualTo(-Errno.ENOENT);
    try (Cluster k = c.killed()) {
      assertThat(k.leftovers()).isEmpty();
    }
  }

  /** Seen failing: closeRetired in View.close; 87 descriptors instead of 38. */
  @Test
  void hazard25RepeatedTranscodingLeaksNoDescriptor() throws Exception {
    c.write("a", page(1));
    c.rename("a", "base/5/20000");
    long before = openDescriptors();
    String at = "base/5/20000";
    for (int i = 0; i < 50; i++) {
      String to = i % 2 == 0 ? "b" : "base/5/" + (20001 + i);
      assertThat(c.rename(at, to)).isZero();
      at = to;
    }
    assertThat(c.read(at)).isEqualTo(page(1));
    assertThat(c.unlink(at)).isZero();
    assertThat(openDescriptors()).isLessThanOrEqualTo(before);
  }

  static long openDescriptors() throws Exception {
    try (var s = Files.list(Path.of("/proc/self/fd"))) {
      return s.count();
    }
  }
}
