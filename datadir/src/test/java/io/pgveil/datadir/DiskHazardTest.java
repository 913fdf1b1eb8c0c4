package io.pgveil.datadir;

import static io.pgveil.datadir.Cluster.bytes;
import static io.pgveil.datadir.Cluster.page;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.fuse.FileSystem;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.CreateKey;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SetKey;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiPredicate;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Full disks and failing ones (hazard 11): every kind of write, of data and of key files, with
 * every error. Who asked sees the error as it is, what was there stays, and it works when the disk
 * does.
 */
class DiskHazardTest {
  private static final List<Integer> ERRORS = List.of(Errno.ENOSPC, Errno.EDQUOT, Errno.EIO);
  private static final int MB = 1 << 20;
  private static final String REL = "base/5/20000";
  private static final String SEG = "pg_wal/000000010000000000000001";
  private static final String TEMPORARY = "pg_wal/xlogtemp.1";

  @TempDir Path temp;
  private Cluster c;

  /** The fault of the key files; guarded by nothing, for one thread asks. */
  private BiPredicate<String, String> keyFault = (call, file) -> false;

  private int error;

  @BeforeEach
  void open() throws Exception {
    c = Cluster.create(temp, (call, file) -> keyFault.test(call, file) ? -error : 0);
    c.write("postmaster.pid", bytes(1, 10));
  }

  @AfterEach
  void close() {
    work();
    c.close();
  }

  private void fail(int with, Predicate<RecordingBacking.Call> data) {
    error = with;
    c.backing.failWith(with, data);
  }

  private void failKeys(int with, BiPredicate<String, String> keys) {
    error = with;
    keyFault = keys;
  }

  private void work() {
    c.backing.work();
    keyFault = (call, file) -> false;
  }

  /**
   * One kind of write.
   *
   * @param path the file whose content must stay; what the change makes of it is {@code after}
   * @param before its content, null for none
   * @param after null for no file, which is so after a rename
   * @param change the request, 0 or a count for success
   */
  private record Write(
      String name,
      String path,
      byte[] before,
      byte[] after,
      Predicate<RecordingBacking.Call> data,
      BiPredicate<String, String> keys,
      ToIntFunction<Cluster> change) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static Write write(
      String name,
      String path,
      byte[] before,
      byte[] after,
      Predicate<RecordingBacking.Call> data,
      ToIntFunction<Cluster> change) {
    return new Write(name, path, before, after, data, (call, file) -> false, change);
  }

  private static Write keyWrite(
      String name,
      String path,
      byte[] before,
      byte[] after,
      BiPredicate<String, String> keys,
      ToIntFunction<Cluster> change) {
    return new Write(name, path, before, after, call -> false, keys, change);
  }

  private static ToIntFunction<Cluster> put(String path, long offset, byte[] bytes) {
    return c -> {
      try (Cluster.Handle h = c.open(path)) {
        return h.write(offset, bytes);
      }
    };
  }

  private static Predicate<RecordingBacking.Call> call(String what, String path) {
    return x -> x.is(what, path);
  }

  private static byte[] joined(byte[] a, byte[] b) {
    byte[] all = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, all, a.length, b.length);
    return all;
  }

  private static Stream<Write> writes() {
    byte[] one = page(1);
    byte[] two = page(2);
    byte[] zeros = new byte[8192];
    byte[] wal = WalPages.segment(1, 1, MB, 9);
    byte[] otherWal = WalPages.segment(1, 1, MB, 30);
    byte[] odd = bytes(3, 700);
    byte[] longer = joined(Arrays.copyOf(odd, 600), bytes(4, 200));
    String unit = "base/5/.20100.AbCdEf";
    return Stream.of(
        write("page", REL, one, two, call("pwrite", REL), put(REL, 0, two)),
        write("new page", REL, one, joined(one, two), call("pwrite", REL), put(REL, 8192, two)),
        write(
            "zero page", REL, one, joined(one, zeros), call("pwrite", REL), put(REL, 8192, zeros)),
        write("truncation", REL, one, new byte[0], call("ftruncate", REL), c -> c.truncate(REL, 0)),
        write(
            "allocation",
            REL,
            one,
            joined(one, zeros),
            call("fallocate", REL),
            c -> {
              try (Cluster.Handle h = c.open(REL)) {
                return h.allocate(0, 8192, 8192);
              }
            }),
        write("WAL", SEG, wal, otherWal, call("pwrite", SEG), put(SEG, 0, otherWal)),
        write(
            "temporary WAL",
            TEMPORARY,
            odd,
            longer,
            call("pwrite", TEMPORARY),
            put(TEMPORARY, 600, bytes(4, 200))),
        write("sealed", "f", odd, longer, call("pwrite", "f"), put("f", 600, bytes(4, 200))),
        write("sealed header", "f", new byte[0], odd, call("pwrite", "f"), put("f", 0, odd)),
        write(
            "sealed header's place",
            "f",
            new byte[0],
            odd,
            call("ftruncate", "f"),
            put("f", 0, odd)),
        keyWrite(
            "key of WAL",
            SEG,
            new byte[0],
            wal,
            (call, file) -> call.equals("WRITE") && file.equals("wal_keys"),
            put(SEG, 0, wal)),
        renamed("staged file", unit, "base/5/20100", x -> x.path().contains("staged")),
        renamed("staged data", unit, "base/5/20100", on("pwrite")),
        renamed("staged sync", unit, "base/5/20100", on("fsync")),
        renamed("staged rename", unit, "base/5/20100", on("rename")),
        renamed("room for a segment", TEMPORARY, SEG, on("fallocate")),
        renamed("segment", TEMPORARY, SEG, on("pwrite")),
        keyWrite(
            "key of a renamed file",
            unit,
            one,
            null,
            (call, file) -> call.equals("WRITE") && file.equals("5_keys"),
            c -> c.rename(unit, "base/5/20100")),
        keyWrite(
            "key file of a database",
            "base/7/20000",
            null,
            new byte[0],
            (call, file) -> call.equals("WRITE") && file.equals("7_keys.r"),
            c -> create(c, "base/7/20000")),
        keyWrite(
            "name of a key file",
            "base/7/20000",
            null,
            new byte[0],
            (call, file) -> call.equals("RENAME") && file.equals("7_keys"),
            c -> create(c, "base/7/20000")),
        write("file", "g", null, new byte[0], call("open", "g"), c -> create(c, "g")),
        write("relation", REL, null, new byte[0], call("open", REL), c -> create(c, REL)),
        write("directory", "d", null, null, call("mkdir", "d"), c -> c.mkdir("d")),
        write("link", "l", null, null, call("symlink", "l"), c -> c.symlink("here", "l")));
  }

  private static Predicate<RecordingBacking.Call> on(String what) {
    return x -> x.what().equals(what) && x.path().contains("staged");
  }

  private static Write renamed(
      String name, String from, String to, Predicate<RecordingBacking.Call> fault) {
    byte[] content = to.equals(SEG) ? WalPages.segment(1, 1, MB, 9) : page(1);
    return write(name, from, content, null, fault, c -> c.rename(from, to));
  }

  private static int create(Cluster c, String path) {
    int slash = path.lastIndexOf('/');
    FileSystem.Entry entry = new FileSystem.Entry();
    FileSystem.OpenResult opened = new FileSystem.OpenResult();
    int r =
        c.fs.create(
            Cluster.CALLER,
            c.node(path.substring(0, Math.max(0, slash))),
            path.substring(slash + 1),
            0600,
            Posix.O_EXCL,
            entry,
            opened);
    if (r >= 0) {
      c.fs.release(entry.node, opened.handle, 0);
    }
    return r;
  }

  private static Stream<Arguments> everyWriteWithEveryError() {
    return writes().flatMap(w -> ERRORS.stream().map(e -> Arguments.of(w, e)));
  }

  /**
   * Seen failing: what DataDirectoryException.errnoOf makes of a full disk; -5 instead of -28. The
   * tail of a temporary WAL file changed before it is written; a staged file left behind; a page
   * write that takes ENOSPC for success.
   */
  @ParameterizedTest(name = "{0}, {1}")
  @MethodSource("everyWriteWithEveryError")
  void hazard11EveryWriteFailsAsTheDiskDoesAndCanBeRepeated(Write w, int with) throws Exception {
    assertThat(c.mkdir("base/7")).isZero();
    if (w.before != null) {
      c.write(w.path, w.before);
      assertThat(c.fsync(w.path)).isZero();
    }
    fail(with, w.data);
    keyFault = w.keys;

    assertThat(w.change.applyAsInt(c)).isEqualTo(-with);
    assertThat(w.change.applyAsInt(c)).as("again").isEqualTo(-with);
    assertThat(c.leftovers()).isEmpty();
    if (w.before == null) {
      assertThat(c.exists(w.path)).isFalse();
    } else {
      assertThat(c.read(w.path)).isEqualTo(w.before);
    }

    work();
    assertThat(w.change.applyAsInt(c)).isNotNegative();
    if (w.after != null) {
      assertThat(c.read(w.path)).isEqualTo(w.after);
      assertThat(c.fsync(w.path)).isZero();
      c.data.housekeeping();
      // a temporary file of WAL ends with its daemon
      if (!w.path.equals(TEMPORARY)) {
        try (Cluster k = c.killed()) {
          assertThat(k.read(w.path)).isEqualTo(w.after);
        }
      }
    }
  }

  // ---- pages that wait for the key ----

  /**
   * While the disk is full every syncer is told so; afterwards all pages are there. Seen failing:
   * OpenFile.waitsForRoom; the sync fails when there is room.
   */
  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOSPC, Errno.EDQUOT})
  void hazard11WaitingPagesStayUntilThereIsRoom(int with) throws Exception {
    for (boolean forKeys : new boolean[] {false, true}) {
      String path = forKeys ? "base/5/20001" : REL;
      c.write(path, page(1));
      if (forKeys) {
        failKeys(with, (call, file) -> call.equals("WRITE"));
      } else {
        fail(with, call("pwrite", path));
      }
      c.data.housekeeping();
      try (Cluster.Handle one = c.open(path);
          Cluster.Handle other = c.open(path)) {
        assertThat(one.fsync()).isEqualTo(-with);
        assertThat(other.fdatasync()).isEqualTo(-with);
        assertThat(one.fsync()).isEqualTo(-with);
        assertThat(other.all()).isEqualTo(page(1));
        work();
        assertThat(other.fsync()).isZero();
        assertThat(one.fsync()).isZero();
      }
      try (Cluster k = c.killed()) {
        assertThat(k.read(path)).isEqualTo(page(1));
      }
    }
  }

  /**
   * A broken disk is no full one: what was told stays told. Seen failing: the error that
   * OpenFile.flush keeps; the second sync succeeds.
   */
  @Test
  void hazard11WaitingPagesThatADeviceRefusesPoisonTheFile() {
    c.write(REL, page(1));
    fail(Errno.EIO, call("pwrite", REL));
    assertThat(c.fsync(REL)).isEqualTo(-Errno.EIO);
    work();
    assertThat(c.fsync(REL)).isEqualTo(-Errno.EIO);
    assertThat(c.read(REL)).isEqualTo(page(1));
  }

  /**
   * Neither the file nor memory has room: the write itself is refused, and leaves nothing. Seen
   * failing: the truncation in RelationContent.storeCipher; the file has grown.
   */
  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOSPC, Errno.EDQUOT, Errno.EIO})
  void hazard11AWriteWithRoomForNeitherFails(int with) throws Exception {
    failKeys(with, (call, file) -> call.equals("WRITE") && file.equals("5_keys"));
    int accepted = 0;
    try (Cluster.Handle h = c.create(REL)) {
      int r = 8192;
      while (r == 8192 && accepted < 4096) {
        r = h.write(accepted * 8192L, page(accepted));
        accepted += r == 8192 ? 1 : 0;
      }
      assertThat(r).isEqualTo(-with);
      assertThat(c.stat(REL).size).isEqualTo(accepted * 8192L);
      assertThat(Cluster.sizeOnDisk(c.cipher(REL))).isEqualTo(accepted * 8192L);
      work();
      assertThat(h.write(accepted * 8192L, page(accepted))).isEqualTo(8192);
      assertThat(h.fsync()).isZero();
    }
    try (Cluster k = c.killed();
        Cluster.Handle h = k.open(REL)) {
      for (int i = 0; i <= accepted; i += 97) {
        assertThat(h.read(i * 8192L, 8192)).isEqualTo(page(i));
      }
    }
  }

  /**
   * A page that was refused must not be written when there is room for it. Seen failing: the growth
   * before the page is added, in RelationContent.storeCipher; the file is not empty.
   */
  @Test
  void hazard11ARefusedPageDoesNotWait() {
    try (Cluster.Handle h = c.create(REL)) {
      fail(Errno.ENOSPC, call("ftruncate", REL));
      assertThat(h.write(0, page(1))).isEqualTo(-Errno.ENOSPC);
      work();
      assertThat(h.fsync()).isZero();
      assertThat(h.all()).isEmpty();
      assertThat(Cluster.sizeOnDisk(c.cipher(REL))).isZero();
    }
  }

  // ---- syncs ----

  /**
   * The kernel below has dropped what it could not write: no later sync can be right. Seen failing:
   * the error that OpenFile.sync keeps; the second sync succeeds.
   */
  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOSPC, Errno.EDQUOT, Errno.EIO})
  void hazard11AFailedSyncIsToldUntilTheFileIsEmptied(int with) {
    for (String path : List.of(REL, SEG, "f")) {
      byte[] content = path.equals(SEG) ? WalPages.segment(1, 1, MB, 9) : page(1);
      c.write(path, content);
      assertThat(c.fsync(path)).isZero();
      c.write(path, content);
      fail(with, x -> x.what().endsWith("sync") && x.path().equals(path));
      assertThat(c.fsync(path)).isEqualTo(-with);
      work();
      assertThat(c.fsync(path)).isEqualTo(-with);
      c.data.housekeeping();
      assertThat(c.fsync(path)).isEqualTo(-with);
      assertThat(c.truncate(path, 0)).isZero();
      assertThat(c.fsync(path)).isZero();
    }
  }

  /**
   * The kernel has dropped what it could not write back, and perhaps the inode with its error. Seen
   * failing: the error that OpenFile.lost keeps; the sync succeeds.
   */
  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOSPC, Errno.EDQUOT, Errno.EIO})
  void hazard11WhatTheKernelCouldNotWriteBackIsToldToWhoSyncs(int with) {
    c.write(REL, page(1));
    assertThat(c.fsync(REL)).isZero();
    fail(with, call("pwrite", REL));
    try (Cluster.Handle h = c.open(REL)) {
      assertThat(h.write(0, page(2), 0, true)).isEqualTo(-with);
    }
    work();
    c.data.housekeeping();
    assertThat(c.fsync(REL)).isEqualTo(-with);
    c.write(REL, page(2));
    assertThat(c.fsync(REL)).isEqualTo(with == Errno.EIO ? -with : 0);
    assertThat(c.read(REL)).isEqualTo(page(2));
  }

  // ---- rotation ----

  /**
   * The files of the server are rewrapped one after the other: each is old or new, all open. Seen
   * failing: the removal of the temporary file in DurableFiles.replace; it is there.
   */
  @ParameterizedTest
  @ValueSource(strings = {"wal_keys", "pgveil.seal", "1663_keys", "5_keys"})
  void hazard11ARotationWithoutRoomLeavesOldKeysThatOpenEverything(String file) throws Exception {
    byte[] wal = WalPages.segment(1, 1, MB, 9);
    c.write(REL, page(1));
    c.write(SEG, wal);
    c.write("f", bytes(2, 700));
    for (String path : List.of(REL, SEG, "f")) {
      assertThat(c.fsync(path)).isZero();
    }
    new CreateKey(Scope.SERVER, "vault", "next", CipherType.AES_128).run(c.keys);
    List<Scope> scopes = List.of(Scope.SERVER, Scope.DEFAULT);
    for (int with : ERRORS) {
      failKeys(with, (call, name) -> call.equals("WRITE") && name.equals(file + ".r"));
      assertThatThrownBy(() -> rotate(scopes))
          .isInstanceOfSatisfying(KeyException.class, e -> assertThat(e.errno()).isEqualTo(with));
      assertThat(c.exists("pg_tde/" + file + ".r")).isFalse();
      opensEverything(wal);
    }
    work();
    rotate(scopes);
    opensEverything(wal);
  }

  private void rotate(List<Scope> scopes) throws KeyException {
    for (Scope scope : scopes) {
      new SetKey(scope, Scope.SERVER, "vault", "next").run(c.keys);
    }
  }

  private void opensEverything(byte[] wal) throws Exception {
    try (Cluster k = c.killed()) {
      for (Cluster each : List.of(c, k)) {
        assertThat(each.read(REL)).isEqualTo(page(1));
        assertThat(each.read(SEG)).isEqualTo(wal);
        assertThat(each.read("f")).isEqualTo(bytes(2, 700));
      }
    }
  }
}
