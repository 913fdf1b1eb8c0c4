package io.pgveil.datadir;

import static io.pgveil.datadir.Cluster.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.fuse.FileSystem;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What is kept for each file is bounded (hazard 25). How much it is with a million files tells
 * bench/many-files.
 */
class ManyFilesTest {
  private static final int FILES = 3000;
  private static final int NODES = 200;

  @TempDir Path temp;

  /**
   * As the kernel does: it looks names up once and keeps them until it is told otherwise. Seen
   * failing: the look at open files in View.forgetNames; the kernel is asked to forget them.
   */
  @Test
  void hazard25NodesThatNobodyUsesAreForgotten() throws Exception {
    DataDirectory.Tuning tuning = new DataDirectory.Tuning(50, 50, 0, NODES, 100);
    try (Cluster c = Cluster.create(temp, tuning, true)) {
      View view = (View) c.fs;
      Set<String> forgotten = new HashSet<>();
      view.kernel(
          (parent, name) -> {
            forgotten.add(name);
            long node = lookUp(c, parent, name);
            // the kernel's own reference, and the one of this look
            c.fs.forget(node, 2);
            return 0;
          });
      long directory = c.node("base/5");
      try (Cluster.Handle held = c.create("base/5/16384")) {
        for (int i = 0; i < FILES; i++) {
          FileSystem.Entry entry = new FileSystem.Entry();
          FileSystem.OpenResult opened = new FileSystem.OpenResult();
          String name = "" + (20000 + i);
          assertThat(c.fs.create(Cluster.CALLER, directory, name, 0600, 0, entry, opened)).isZero();
          c.fs.release(entry.node, opened.handle, 0);
          if (i % 100 == 0) {
            c.data.housekeeping();
            assertThat(view.nodeCount()).isLessThanOrEqualTo(NODES);
          }
        }
        c.data.housekeeping();
        assertThat(view.nodeCount()).isLessThanOrEqualTo(NODES);
        assertThat(forgotten).hasSizeGreaterThan(FILES - NODES - 100).doesNotContain("16384");
        assertThat(held.write(0, page(1))).isEqualTo(8192);
        assertThat(held.all()).isEqualTo(page(1));
      }
      c.write("base/5/20000", page(2));
      assertThat(c.read("base/5/20000")).isEqualTo(page(2));
    }
  }

  private static long lookUp(Cluster c, long parent, String name) {
    FileSystem.Entry entry = new FileSystem.Entry();
    assertThat(c.fs.lookup(parent, name, entry)).isZero();
    return entry.node;
  }

  /**
   * A database that nobody uses any more costs no memory; its keys come back with its files. Seen
   * failing: the look at what is stored in RelationKeys.unloadIfUnused; 0 keys instead of 120.
   */
  @Test
  void hazard25KeysOfIdleDatabasesAreUnloadedAndComeBack() throws Exception {
    DataDirectory.Tuning tuning = new DataDirectory.Tuning(512, 512, 0, NODES, 20);
    try (Cluster c = Cluster.create(temp, tuning, true)) {
      for (int database = 100; database < 104; database++) {
        assertThat(c.mkdir("base/" + database)).isZero();
        for (int i = 0; i < 30; i++) {
          c.write("base/" + database + "/" + (20000 + i), page(database + i));
        }
      }
      assertThat(c.keys.loadedRelations()).isEqualTo(120);
      // not stored yet: nothing may go
      c.keys.shed(20);
      c.keys.shed(20);
      assertThat(c.keys.loadedRelations()).isEqualTo(120);
      c.data.housekeeping();
      c.data.housekeeping();
      assertThat(c.keys.loadedRelations()).isLessThanOrEqualTo(20);
      for (int database = 100; database < 104; database++) {
        for (int i = 0; i < 30; i++) {
          assertThat(c.read("base/" + database + "/" + (20000 + i))).isEqualTo(page(database + i));
        }
        c.data.housekeeping();
        c.data.housekeeping();
        assertThat(c.unlink("base/" + database + "/20000")).isZero();
        c.write("base/" + database + "/30000", page(database));
        assertThat(c.read("base/" + database + "/30000")).isEqualTo(page(database));
      }
      c.data.housekeeping();
      try (Cluster k = c.killed()) {
        assertThat(k.read("base/103/30000")).isEqualTo(page(103));
        assertThat(k.read("base/100/20029")).isEqualTo(page(129));
        assertThat(k.keys.relationKeys(100).contains(Place.DEFAULT_TABLESPACE, 20000)).isFalse();
      }
    }
  }
}
