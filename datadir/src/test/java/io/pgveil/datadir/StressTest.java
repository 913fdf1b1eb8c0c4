package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.fuse.FileSystem;
import io.pgveil.linux.Errno;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Several threads at once, few idle descriptors. Each thread has files of its own, whose content it
 * knows, and all read and sync common ones, of which every page is of one version.
 */
class StressTest {
  private static final int THREADS = 4;
  private static final int STEPS = 700;

  @TempDir Path temp;

  /** Fails when close() does not wait for a flush, or content locks are left out. */
  @Test
  @Timeout(value = 60, unit = TimeUnit.SECONDS)
  void concurrentUseKeepsContentsAndLeaksNothing() throws Exception {
    try (Cluster c = Cluster.create(temp, new DataDirectory.Tuning(5, 5, 0), true)) {
      c.backing.recording = false;
      for (int i = 0; i < 4; i++) {
        c.write(common(i), filled(0, 4));
      }
      long before = RenameHazardTest.openDescriptors();
      AtomicBoolean done = new AtomicBoolean();
      Thread housekeeper =
          Thread.ofPlatform()
              .start(
                  () -> {
                    while (!done.get()) {
                      c.data.housekeeping();
                      Thread.onSpinWait();
                    }
                  });
      List<Future<?>> all = new ArrayList<>();
      try (ExecutorService pool = Executors.newFixedThreadPool(THREADS)) {
        for (int t = 0; t < THREADS; t++) {
          int thread = t;
          all.add(pool.submit(() -> run(c, thread)));
        }
        for (Future<?> f : all) {
          f.get();
        }
      } finally {
        done.set(true);
        housekeeper.join();
      }
      assertThat(RenameHazardTest.openDescriptors()).isLessThanOrEqualTo(before + 5);
      assertThat(c.leftovers()).isEmpty();
    }
  }

  /**
   * While a file is being unlinked, another directory gets a new one. Fails when the inode number
   * may come back before the old file's node is gone (View.pin): the new one's bytes are lost.
   */
  @Test
  void inodeNumberThatComesBackIsAnotherFile() throws Exception {
    // no idle descriptors, which would keep the inode
    try (Cluster c = Cluster.create(temp, new DataDirectory.Tuning(0, 0, 0), true)) {
      c.mkdir("d");
      c.mkdir("e");
      List<Cluster.Handle> made = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        c.write("d/" + i, Cluster.bytes(i, 100));
        c.backing.afterUnlink =
            () -> {
              c.backing.afterUnlink = () -> {};
              made.add(c.create("e/" + made.size()));
            };
        assertThat(c.unlink("d/" + i)).isZero();
        Cluster.Handle first = made.get(i);
        try (Cluster.Handle second = c.open("e/" + i)) {
          first.write(0, Cluster.bytes(1000 + i, 100));
          assertThat(second.all()).as("one inode, one content").isEqualTo(first.all());
        }
      }
      assertThat(made).hasSize(20);
      made.forEach(Cluster.Handle::close);
    }
  }

  private static String common(int i) {
    return i % 2 == 0 ? "base/5/1000" + i : "pg_xact/000" + i;
  }

  private static byte[] filled(int version, int pages) {
    byte[] b = new byte[pages * 8192];
    Arrays.fill(b, (byte) (version | 1));
    return b;
  }

  private static Void run(Cluster c, int thread) throws Exception {
    Random random = new Random(thread);
    String[] names = new String[6];
    byte[][] contents = new byte[6][];
    int made = 0;
    for (int step = 0; step < STEPS; step++) {
      int i = random.nextInt(names.length);
      String as = "thread " + thread + " step " + step + " file " + names[i];
      if (names[i] == null) {
        String id = "" + (30000 + thread * 5000 + made++);
        names[i] = random.nextInt(3) == 0 ? "pg_xact/" + id : "base/5/" + id;
        contents[i] = Cluster.bytes(step, random.nextInt(20_000) + 1);
        c.write(names[i], contents[i]);
        continue;
      }
      switch (random.nextInt(9)) {
        case 0 -> {
          assertThat(c.unlink(names[i])).as(as).isZero();
          assertThat(c.node(names[i])).as(as).isEqualTo(-Errno.ENOENT);
          names[i] = null;
        }
        case 1 -> {
          String id = "" + (30000 + thread * 5000 + made++);
          String to = random.nextBoolean() ? "pg_xact/" + id : "base/5/" + id;
          assertThat(c.rename(names[i], to)).as(as).isZero();
          names[i] = to;
        }
        case 2 -> assertThat(c.fsync(names[i])).as(as).isZero();
        case 3 -> {
          int n = random.nextInt(20_000);
          assertThat(c.truncate(names[i], n)).as(as).isZero();
          contents[i] = Arrays.copyOf(contents[i], n);
        }
        case 4 -> {
          // a file that lives on without its name
          try (Cluster.Handle h = c.open(names[i])) {
            assertThat(c.unlink(names[i])).as(as).isZero();
            assertThat(h.all()).as(as).isEqualTo(contents[i]);
          }
          names[i] = null;
        }
        case 5 -> {
          // every page of a common file is of one version
          String path = common(random.nextInt(4));
          try (Cluster.Handle h = c.open(path)) {
            int page = random.nextInt(4);
            if (random.nextBoolean()) {
              assertThat(h.write(page * 8192L, filled(random.nextInt(100), 1))).isEqualTo(8192);
            }
            byte[] got = h.read(page * 8192L, 8192);
            assertThat(got).as(path).hasSize(8192);
            assertThat(Arrays.mismatch(got, filled(got[0], 1))).as(path).isEqualTo(-1);
          }
        }
        case 6 -> {
          long node = c.node(names[i]);
          c.fs.forget(node, 1);
          FileSystem.Attributes a = c.stat(names[i]);
          assertThat(a.size).as(as).isEqualTo(contents[i].length);
        }
        default -> {
          int o = random.nextInt(20_000);
          byte[] data = Cluster.bytes(step, random.nextInt(5000) + 1);
          try (Cluster.Handle h = c.open(names[i])) {
            assertThat(h.write(o, data)).as(as).isEqualTo(data.length);
          }
          contents[i] = Arrays.copyOf(contents[i], Math.max(contents[i].length, o + data.length));
          System.arraycopy(data, 0, contents[i], o, data.length);
        }
      }
      if (names[i] != null) {
        byte[] got = c.read(names[i]);
        assertThat(Arrays.mismatch(got, contents[i])).as(as).isEqualTo(-1);
      }
    }
    for (String n : names) {
      if (n != null) {
        assertThat(c.unlink(n)).isZero();
      }
    }
    return null;
  }
}
