package io.pgveil.datadir;

import static io.pgveil.datadir.Cluster.bytes;
import static io.pgveil.datadir.Cluster.page;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.fuse.FileSystem;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Durability, links, visibility, attributes, directories (hazards 10 to 19). */
class DataDirectoryHazardTest {
  private static final String SEG1 = "pg_wal/000000010000000000000001";

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

  private static Predicate<RecordingBacking.Call> sync(String path) {
    return x -> x.path().equals(path) && (x.is("fsync", path) || x.is("fdatasync", path));
  }

  // ---- hazard 10 ----

  private void start(byte[] control, boolean allow) throws Exception {
    c.write("global/pg_control", control);
    c.fsync("global/pg_control");
    Path copy = Files.createTempDirectory(temp, "start");
    Cluster.copyTree(c.directory, copy);
    try (KeyDirectory keys =
            KeyDirectory.open(
                copy.resolve("pg_tde"),
                new KeyDirectory.Settings(List.of(), io.pgveil.keys.CipherType.AES_128));
        DataDirectory d =
            DataDirectory.open(
                copy, keys, Cluster.options(temp, new Backing(), null, allow), Cluster.TUNING)) {
      assertThat(d.controlData()).isNotNull();
      assertThat(d.controlData().walSegmentSize()).isEqualTo(1 << 20);
    }
  }

  /**
   * Fact E. Offsets: see ControlData. Seen failing: allowTornPages in
   * DataDirectory.refuseUnsafeCluster; the first two rows throw nothing. Its look at sizes; the
   * last two throw nothing.
   */
  @ParameterizedTest
  @CsvSource({
    "56, 0, full_page_writes, true",
    "252, 0, data checksums, true",
    "217, 64, 16384 bytes, false",
    "222, 1, segments, false",
  })
  void hazard10ClusterThatTornPagesCouldDamageIsRefused(
      int offset, byte value, String says, boolean canBeAllowed) throws Exception {
    byte[] control = Cluster.control(1, 1 << 20);
    start(control, false);
    control[offset] = value;
    assertThatThrownBy(() -> start(control, false))
        .isInstanceOfSatisfying(
            DataDirectoryException.class,
            e -> assertThat(e.problem()).isEqualTo(DataDirectoryException.Problem.UNSAFE_SETTINGS))
        .hasMessageContaining(says);
    if (canBeAllowed) {
      start(control, true);
    } else {
      assertThatThrownBy(() -> start(control, true)).isInstanceOf(DataDirectoryException.class);
    }
    if (offset == 252) {
      control[176] = 1; // wal_log_hints will do
      start(control, false);
    }
  }

  // ---- hazard 11 ----

  /** Seen failing: syncError in OpenFile.sync; 0 instead of -5. */
  @ParameterizedTest
  @ValueSource(strings = {"base/5/20000", "pg_xact/0000", SEG1})
  void hazard11SyncErrorStaysForEverySyncer(String path) {
    byte[] content = path.equals(SEG1) ? WalPages.segment(1, 1, 1 << 20, 9) : page(1);
    Cluster.Handle writer = c.create(path);
    assertThat(writer.write(0, content)).isEqualTo(content.length);
    assertThat(writer.fsync()).isZero();
    writer.write(0, content);
    c.backing.failWith(Errno.EIO, sync(path));
    assertThat(c.fsync(path)).isEqualTo(-Errno.EIO);
    c.backing.work();
    assertThat(c.fsync(path)).isEqualTo(-Errno.EIO);
    assertThat(writer.fdatasync()).isEqualTo(-Errno.EIO);
    writer.close();
    assertThat(c.fsync(path)).isEqualTo(-Errno.EIO);
    assertThat(c.truncate(path, 0)).isZero();
    assertThat(c.fsync(path)).isZero();
  }

  /**
   * Seen failing: the result of truncate in View.create; 0 instead of -5. View.truncate, which
   * forgives; -5 instead of 0.
   */
  @Test
  void hazard11CreateWithTruncation() {
    c.write("f", bytes(1, 100));
    c.backing.failWith(Errno.EIO, sync("f"));
    assertThat(c.fsync("f")).isEqualTo(-Errno.EIO);
    c.backing.failWith(Errno.EIO, x -> x.is("ftruncate", "f"));
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    assertThat(
            c.fs.create(
                Cluster.CALLER,
                FileSystem.ROOT,
                "f",
                0600,
                Posix.O_TRUNC,
                new FileSystem.Entry(),
                o))
        .isEqualTo(-Errno.EIO);
    c.backing.work();
    assertThat(c.read("f")).isEqualTo(bytes(1, 100));
    try (Cluster.Handle h = c.create("f", Posix.O_TRUNC)) {
      assertThat(h.all()).isEmpty();
      assertThat(h.fsync()).isZero();
    }
  }

  /**
   * A name used again is another file. Seen failing: the file in OpenFile.syncError, one error for
   * all; -5 instead of 0.
   */
  @Test
  void hazard11SyncErrorGoesWithTheUnlinkedFile() {
    c.write("f", bytes(1, 100));
    c.backing.failWith(Errno.EIO, sync("f"));
    assertThat(c.fsync("f")).isEqualTo(-Errno.EIO);
    c.backing.work();
    assertThat(c.unlink("f")).isZero();
    c.write("f", bytes(2, 100));
    assertThat(c.fsync("f")).isZero();
  }

  /** Seen failing: bringToDisk in View.closeIdle; 0 instead of -5. */
  @Test
  void hazard11EvictionSyncsAndKeepsErrors() throws Exception {
    try (Cluster k = Cluster.create(temp, new DataDirectory.Tuning(3, 3, 0), true)) {
      k.write("f", bytes(1, 100));
      k.backing.failWith(Errno.EIO, sync("f"));
      k.write("g", bytes(2, 100));
      for (int i = 0; i < 20; i++) {
        k.write("x" + i, bytes(i, 10));
      }
      assertThat(k.backing.recorded(sync("g"))).isNotEmpty();
      k.backing.work();
      assertThat(k.fsync("f")).isEqualTo(-Errno.EIO);
      assertThat(k.fsync("g")).isZero();
      assertThat(k.read("f")).isEqualTo(bytes(1, 100));
    }
  }

  /** Seen failing: dirty in View.release; 18 syncs instead of 10. */
  @Test
  void hazard11FilesAreSyncedForTheirDescriptorOnlyWhenManyWereWritten() throws Exception {
    try (Cluster k = Cluster.create(temp, new DataDirectory.Tuning(3, 10, 0), true)) {
      for (int i = 0; i < 10; i++) {
        k.write("base/5/2000" + i, page(i));
        k.fsync("base/5/2000" + i);
      }
      int before = k.backing.recorded(x -> x.what().endsWith("sync")).size();
      for (int i = 0; i < 10; i++) {
        k.read("base/5/2000" + i);
        k.write("base/5/3000" + i, page(i));
      }
      assertThat(k.backing.recorded(x -> x.what().endsWith("sync"))).hasSize(before);
      k.write("base/5/40000", page(1));
      assertThat(k.backing.recorded(sync("base/5/30000"))).isNotEmpty();
    }
  }

  /**
   * Seen failing: dirty behind the change in View.change, before it instead; 1 sync instead of 2.
   */
  @Test
  void hazard11ASyncDuringAWriteLeavesTheFileUnsynced() throws Exception {
    try (Cluster k = Cluster.create(temp, new DataDirectory.Tuning(0, 0, 0), true)) {
      k.write("base/5/20000", page(1));
      k.fsync("base/5/20000");
      k.backing.clear();
      try (Cluster.Handle h = k.open("base/5/20000")) {
        k.backing.before =
            x -> {
              if (x.is("pwrite", "base/5/20000")) {
                k.backing.before = y -> {};
                h.fsync();
              }
            };
        assertThat(h.write(0, page(2))).isEqualTo(8192);
      }
      // once during the write, once before the descriptor goes
      assertThat(k.backing.recorded(sync("base/5/20000"))).hasSize(2);
    }
  }

  /** Seen failing: the sync of a file that is not dirty in OpenFile.sync; no sync instead of 1. */
  @Test
  void hazard11FirstSyncAfterADaemonRestartReachesTheBackingFile() throws Exception {
    c.write("pg_xact/0000", page(1));
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    try (Cluster k = c.killed()) {
      for (String f : List.of("pg_xact/0000", "base/5/20000")) {
        assertThat(k.fsync(f)).isZero();
        assertThat(k.backing.recorded(sync(f))).hasSize(1);
      }
    }
  }

  /**
   * Seen failing: the fdatasync in SealedContent.writeHeader; "ftruncate 0", "pwrite 0", "pwrite
   * 4096" alone.
   */
  @Test
  void hazard11HeaderOfASealedFileIsSyncedFirst() {
    c.write("f", bytes(1, 5000));
    List<String> order =
        c.backing.recorded(x -> x.path().equals("f") && !x.what().equals("open")).stream()
            .map(x -> x.what() + " " + x.offset())
            .toList();
    assertThat(order).containsExactly("ftruncate 0", "pwrite 0", "fdatasync 0", "pwrite 4096");
    c.backing.failWith(Errno.EIO, sync("g"));
    try (Cluster.Handle h = c.create("g")) {
      assertThat(h.write(0, bytes(1, 10))).isEqualTo(-Errno.EIO);
      assertThat(Cluster.sizeOnDisk(c.cipher("g"))).isZero();
      c.backing.work();
      assertThat(h.fsync()).isEqualTo(-Errno.EIO);
    }
  }

  /** Seen failing: the result of pwrite in RelationContent.storeCipher; 8192 instead of -28. */
  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOSPC, Errno.EIO, Errno.EDQUOT})
  void hazard11WriteErrorsReachTheCallerAsTheyAre(int error) {
    for (String path : List.of("base/5/20000", "f", "pg_wal/xlogtemp.1", SEG1)) {
      byte[] content = path.equals(SEG1) ? WalPages.segment(1, 1, 1 << 20, 3) : page(1);
      try (Cluster.Handle h = c.create(path)) {
        assertThat(h.write(0, content)).isPositive();
        assertThat(h.fsync()).isZero();
        c.backing.failWith(error, x -> x.is("pwrite", path));
        byte[] changed = content.clone();
        changed[100] ^= 1;
        assertThat(h.write(0, changed)).as(path).isEqualTo(-error);
        c.backing.work();
        assertThat(h.all()).as(path).isEqualTo(content);
        assertThat(h.write(0, changed)).isPositive();
        assertThat(h.all()).isEqualTo(changed);
      }
    }
  }

  // ---- hazard 12 ----

  /** Fact G. Seen failing: the flags in View.write; no fdatasync instead of 1. */
  @Test
  void hazard12SynchronousWritesAreSynced() {
    byte[] content = WalPages.segment(1, 1, 1 << 20, 3);
    try (Cluster.Handle h = c.create(SEG1)) {
      assertThat(h.direct).isTrue();
      h.write(0, content, Posix.O_RDWR, false);
      assertThat(c.backing.recorded(sync(SEG1))).isEmpty();
      h.write(0, content, Posix.O_RDWR | Posix.O_DSYNC, false);
      assertThat(c.backing.recorded(x -> x.is("fdatasync", SEG1))).hasSize(1);
      h.write(0, content, Posix.O_RDWR | Posix.O_SYNC, false);
      assertThat(c.backing.recorded(x -> x.is("fsync", SEG1))).hasSize(1);
      c.backing.failWith(Errno.EIO, sync(SEG1));
      assertThat(h.write(0, content, Posix.O_RDWR | Posix.O_DSYNC, false)).isEqualTo(-Errno.EIO);
    }
  }

  /** Fact F. Seen failing: syncfs in DataDirectory.pidWritten; none instead of 1. */
  @Test
  void hazard12RunBeginsWithSyncfs() {
    c.write("postmaster.pid", bytes(1, 50));
    c.write("postmaster.pid", bytes(2, 50));
    assertThat(c.backing.recorded(x -> x.what().equals("syncfs"))).hasSize(1);
    c.unlink("postmaster.pid");
    c.write("postmaster.pid", "-123\n".getBytes(java.nio.charset.StandardCharsets.US_ASCII));
    assertThat(c.backing.recorded(x -> x.what().equals("syncfs"))).hasSize(1);
    c.unlink("postmaster.pid");
    c.write("postmaster.pid", bytes(1, 50));
    assertThat(c.backing.recorded(x -> x.what().equals("syncfs"))).hasSize(2);
  }

  // ---- hazard 14 ----

  /** Seen failing: the refusal in DataDirectory.mayLink; 0 instead of -1, for all eight. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "pg_tblspc/16400",
        "base/6",
        "base/5/20000",
        "pg_wal/" + "RECOVERYXLOG",
        "pg_xlog",
        "pg_wal/000000010000000000000009",
        "pg_replslot/s",
        "pg_tblspc/16401/PG_15_1",
      })
  void hazard14LinksThatLeadDataOutAreRefused(String path) {
    c.mkdir("pg_tblspc/16401");
    assertThat(c.symlink("/elsewhere/outside", path)).isEqualTo(-Errno.EPERM);
    assertThat(c.exists(path)).isFalse();
    // nor by way of another name
    assertThat(c.symlink("/elsewhere/outside", "x")).isZero();
    assertThat(c.rename("x", path)).isEqualTo(-Errno.EPERM);
    assertThat(c.link("x", path)).isEqualTo(-Errno.EPERM);
    assertThat(c.exists(path)).isFalse();
    assertThat(c.exists("x")).isTrue();
    assertThat(c.symlink("../../outside", path)).isEqualTo(-Errno.EPERM);
  }

  /** Seen failing: the permission in DataDirectory.mayLink; -1 instead of 0. */
  @Test
  void hazard14LinksToOurOwnViewsAndOfNoDataAreMade() {
    assertThat(c.symlink(temp.resolve("mount") + "/spc", "pg_tblspc/16400")).isZero();
    assertThat(c.symlink("/etc/ssl/server.crt", "server.crt")).isZero();
    assertThat(c.symlink("/var/log/postgresql", "log")).isZero();
    assertThat(c.rename("server.crt", "server.pem")).isZero();
  }

  // ---- hazard 15 ----

  /**
   * Seen failing: View.isKeyDirectoryName; pg_tde is listed. The kind in View.open; 0 instead of
   * -30.
   */
  @Test
  void hazard15KeyDirectoryIsHiddenAndReadOnly() throws Exception {
    assertThat(c.list("")).doesNotContain("pg_tde").contains("base", "global");
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    assertThat(c.list("pg_tde")).contains("wal_keys", "5_keys", "pgveil.seal");
    assertThat(c.list("pg_tde")).doesNotContain("pgveil.lock");
    assertThat(c.read("pg_tde/5_keys")).isEqualTo(c.cipherBytes("pg_tde/5_keys"));
    assertThat(c.stat("pg_tde/5_keys").mode & 0222).isZero();
    assertThat(c.openError("pg_tde/5_keys", Posix.O_RDWR)).isEqualTo(-Errno.EROFS);
    assertThat(c.unlink("pg_tde/5_keys")).isEqualTo(-Errno.EPERM);
    assertThat(c.truncate("pg_tde/5_keys", 0)).isEqualTo(-Errno.EROFS);
    assertThat(c.rename("pg_tde/5_keys", "x")).isEqualTo(-Errno.EPERM);
    c.write("x", bytes(1, 10));
    assertThat(c.rename("x", "pg_tde/5_keys")).isEqualTo(-Errno.EPERM);
    assertThat(c.link("x", "pg_tde/y")).isEqualTo(-Errno.EPERM);
    assertThat(c.link("pg_tde/5_keys", "y")).isEqualTo(-Errno.EPERM);
    assertThat(c.symlink("x", "pg_tde/y")).isEqualTo(-Errno.EPERM);
    assertThat(c.mkdir("pg_tde/d")).isEqualTo(-Errno.EPERM);
    assertThat(c.rename("pg_tde", "z")).isEqualTo(-Errno.EPERM);
    assertThat(c.rename("base", "pg_tde")).isEqualTo(-Errno.EPERM);
    assertThat(c.rmdir("pg_tde")).isEqualTo(-Errno.EPERM);
    assertThat(c.unlink("pg_tde")).isNegative();
    FileSystem.SetAttributes in = new FileSystem.SetAttributes();
    in.valid = FileSystem.SetAttributes.MODE;
    in.mode = 0777;
    assertThat(c.fs.setattr(c.node("pg_tde"), 0, in, new FileSystem.Attributes()))
        .isEqualTo(-Errno.EPERM);
    assertThat(c.exists("pg_tde/wal_keys")).isTrue();
  }

  /** Seen failing: the kind in View.fill; bytes are missing. */
  @Test
  void hazard15KeyFileThatGrowsShowsItsSize() throws Exception {
    c.write("base/5/20000", page(1));
    c.fsync("base/5/20000");
    try (Cluster.Handle h = openKeyFile("pg_tde/5_keys")) {
      for (int i = 1; i < 50; i++) {
        c.write("base/5/" + (20000 + i), page(i));
      }
      c.data.housekeeping();
      assertThat(h.all()).isEqualTo(c.cipherBytes("pg_tde/5_keys"));
      assertThat(c.stat("pg_tde/5_keys").size)
          .isEqualTo(Cluster.sizeOnDisk(c.cipher("pg_tde/5_keys")));
    }
  }

  private Cluster.Handle openKeyFile(String path) {
    return c.open(path, Posix.O_RDONLY);
  }

  /**
   * Seen failing: the unlink of the old name in View.Rename.transcode; -39 (ENOTEMPTY) instead of
   * 0.
   */
  @Test
  void hazard15DatabaseDirectoryHoldsNothingOfOurs() {
    c.mkdir("base/7");
    c.write("base/7/20000", page(1));
    c.write("base/7/.20001.x", page(1));
    assertThat(c.rename("base/7/.20001.x", "base/7/20001")).isZero();
    c.data.housekeeping();
    assertThat(c.unlink("base/7/20000")).isZero();
    assertThat(c.unlink("base/7/20001")).isZero();
    assertThat(c.rmdir("base/7")).isZero();
    assertThat(c.list("base")).containsExactly("5");
  }

  // ---- hazard 18 ----

  /**
   * Seen failing: clearLength in View.fill; 4609 instead of 1. The time kept in
   * RelationContent.flush; the time of the flush.
   */
  @Test
  void hazard18SizesTimesAndModesAreExact() throws Exception {
    for (int n : new int[] {0, 1, 511, 512, 513, 4096, 100_000}) {
      for (String path : List.of("f", "base/5/20000", "pg_wal/xlogtemp.1", "pg_stat_tmp/s")) {
        if (path.startsWith("pg_stat_tmp")) {
          c.mkdir("pg_stat_tmp");
        }
        c.write(path, bytes(n, n));
        assertThat(c.stat(path).size).as(path).isEqualTo(n);
        assertThat(c.setTimes(path, 1_600_000_000)).isZero();
        assertThat(c.stat(path).mtime).isEqualTo(1_600_000_000);
        FileSystem.SetAttributes in = new FileSystem.SetAttributes();
        in.valid = FileSystem.SetAttributes.MODE;
        in.mode = 0640;
        FileSystem.Attributes out = new FileSystem.Attributes();
        assertThat(c.fs.setattr(c.node(path), 0, in, out)).isZero();
        assertThat(out.mode & 07777).isEqualTo(0640);
        assertThat(out.mode & Stat.S_IFMT).isEqualTo(Stat.S_IFREG);
        assertThat(out.size).isEqualTo(n);
        c.data.housekeeping();
        assertThat(c.stat(path).mtime).as(path).isEqualTo(1_600_000_000);
        try (Cluster k = c.killed()) {
          assertThat(k.stat(path).size).as(path + " after a restart").isEqualTo(n);
          assertThat(k.stat(path).mtime).as(path).isEqualTo(1_600_000_000);
        }
        assertThat(c.unlink(path)).isZero();
      }
    }
  }

  /** Seen failing: the open descriptor in View.stat; -2 (ENOENT) instead of 0. */
  @Test
  void hazard18UnlinkedFileHasNoLinks() {
    Cluster.Handle h = c.create("f");
    h.write(0, bytes(1, 10));
    c.unlink("f");
    FileSystem.Attributes a = new FileSystem.Attributes();
    assertThat(c.fs.getattr(h.node, h.handle, a)).isZero();
    assertThat(a.nlink).isZero();
    assertThat(a.size).isEqualTo(10);
    h.close();
  }

  // ---- hazard 19 ----

  /**
   * Fact K. Seen failing: the cookies of the directory in View.list, positions instead; 6029
   * entries seen instead of 10000.
   */
  @Test
  void hazard19CookiesAreStableWhileEntriesGo() {
    c.mkdir("d");
    int count = 10_000;
    for (int i = 0; i < count; i++) {
      Posix.close(Posix.open(c.cipher("d/f" + i).toString(), Posix.O_CREAT | Posix.O_RDWR, 0600));
    }
    long node = c.node("d");
    FileSystem.OpenResult o = new FileSystem.OpenResult();
    assertThat(c.fs.opendir(node, o)).isZero();
    List<String> seen = new ArrayList<>();
    long[] cookie = {0};
    boolean plus = false;
    while (true) {
      int before = seen.size();
      Cluster.Names out = new Cluster.Names(seen, cookie, 37);
      int r =
          plus
              ? c.fs.readdirplus(node, o.handle, cookie[0], out)
              : c.fs.readdir(node, o.handle, cookie[0], out);
      assertThat(r).isZero();
      if (seen.size() == before) {
        break;
      }
      plus = !plus;
      for (String name : List.copyOf(seen.subList(before, seen.size()))) {
        if (name.startsWith("f")) {
          int i = Integer.parseInt(name.substring(1));
          if (i % 3 == 0) {
            assertThat(c.fs.unlink(node, name)).isZero();
          } else if (i % 3 == 1) {
            assertThat(c.fs.rename(node, name, FileSystem.ROOT, "r" + i, 0)).isZero();
          }
        }
      }
    }
    c.fs.releasedir(node, o.handle);
    seen.removeIf(s -> !s.startsWith("f"));
    Set<String> once = new HashSet<>(seen);
    assertThat(seen).as("no entry twice").hasSize(once.size());
    assertThat(once).as("no entry skipped").hasSize(count);
    assertThat(c.list("d")).hasSize((count - 1) / 3);
  }

  @Test
  void filesStillOpenAtTheEndAreWritten() throws Exception {
    Cluster.Handle h = c.create("base/5/20000");
    h.write(0, page(1));
    long before = RenameHazardTest.openDescriptors();
    c.close();
    assertThat(RenameHazardTest.openDescriptors()).isLessThan(before);
    try (Cluster k = c.killed()) {
      assertThat(k.read("base/5/20000")).isEqualTo(page(1));
    }
  }

  /** A copy tool asks where data is. */
  @Test
  void seekFindsDataAndHoles() {
    try (Cluster.Handle h = c.create("f")) {
      h.write(1 << 20, bytes(1, 100));
      assertThat(c.fs.lseek(h.node, h.handle, 8192, Posix.SEEK_DATA)).isBetween(8192L, 1L << 20);
      assertThat(c.fs.lseek(h.node, h.handle, 1 << 20, Posix.SEEK_HOLE)).isEqualTo((1 << 20) + 100);
      byte[] all = h.all();
      assertThat(Arrays.copyOf(all, 1 << 20)).isEqualTo(new byte[1 << 20]);
    }
  }
}
