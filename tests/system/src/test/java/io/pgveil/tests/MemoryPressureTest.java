package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import io.pgveil.tests.support.Clusters;
import io.pgveil.tests.support.MemoryGroup;
import io.pgveil.tests.support.Postgres;
import io.pgveil.tests.support.TestCluster;
import java.io.DataInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/**
 * Memory for a quarter of what is written: the kernel takes pages back by writing them through the
 * daemon, which lives in the same memory.
 *
 * <p>Seen failing: with the page write at 100 MiB of a file left out.
 */
@Tag("system")
class MemoryPressureTest {
  private static final long LIMIT = 512L << 20;
  private static final int FILES = 8;
  private static final int CHUNK = 32 << 20;
  private static final int CHUNKS = 8;
  private static final int PATIENCE_SECONDS = 240;

  /** Of so many chunks one is compared: reading all takes as long as writing. */
  private static final int SAMPLE = 4;

  @RegisterExtension final Clusters clusters = new Clusters();
  @TempDir Path temporary;

  @Test
  void hazard25DirtyDataOfFourTimesTheMemoryIsWritten() throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: a cgroup with a memory limit is made");
    try (MemoryGroup group = MemoryGroup.ofBytes(LIMIT)) {
      TestCluster cluster = clusters.mounted(temporary, Postgres.major(17), 128);
      cluster.unmount();
      cluster.within(group).mount();
      byte[] chunk = new byte[CHUNK];
      new Random(25).nextBytes(chunk);
      Path source = Files.write(temporary.resolve("chunk"), chunk);
      Path database = cluster.mountPoint().resolve("base/5");
      write(group, source, database);
      assertThat(group.wasFull()).as("the limit was met").isTrue();
      for (int file = 0; file < FILES; file++) {
        assertHolds(database.resolve("2000" + file), chunk, file % SAMPLE);
      }
      cluster.unmount();
    }
  }

  private static void write(MemoryGroup group, Path source, Path database) throws Exception {
    String script =
        """
        mkdir -p "$2"
        for file in $(seq 0 %d); do
          for chunk in $(seq %d); do cat "$1"; done > "$2/2000$file"
        done
        sync "$2"/2000?
        """
            .formatted(FILES - 1, CHUNKS);
    Process writer =
        new ProcessBuilder(
                group.command(
                    List.of("sh", "-ec", script, "sh", source.toString(), database.toString())))
            .redirectErrorStream(true)
            .start();
    boolean ended = writer.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS);
    if (!ended) {
      writer.descendants().forEach(ProcessHandle::destroyForcibly);
      writer.destroyForcibly();
    }
    assertThat(ended).as("2 GiB are written within %d s", PATIENCE_SECONDS).isTrue();
    String output = new String(writer.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(writer.exitValue()).as(output).isZero();
  }

  private static void assertHolds(Path file, byte[] chunk, int first) throws Exception {
    assertThat(file).hasSize((long) CHUNK * CHUNKS);
    byte[] read = new byte[CHUNK];
    try (DataInputStream in = new DataInputStream(Files.newInputStream(file))) {
      in.skipNBytes((long) first * CHUNK);
      for (int i = first; i < CHUNKS; i += SAMPLE) {
        in.readFully(read);
        in.skipNBytes(Math.min(SAMPLE - 1, CHUNKS - 1 - i) * (long) CHUNK);
        assertThat(Arrays.mismatch(read, chunk)).as("%s, chunk %d", file, i).isEqualTo(-1);
      }
    }
  }
}
