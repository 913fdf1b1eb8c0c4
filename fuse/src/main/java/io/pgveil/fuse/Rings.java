package io.pgveil.fuse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The workers of a connection over io_uring.
 *
 * <p>The kernel sends nothing before each possible processor's queue has an entry, so they are made
 * before it is told that we want it: what cannot be had is found out while there is another way.
 */
final class Rings {
  private static final Logger LOG = LoggerFactory.getLogger(Rings.class);

  private static final Path ENABLED = Path.of("/sys/module/fuse/parameters/enable_uring");
  private static final Path POSSIBLE = Path.of("/sys/devices/system/cpu/possible");

  /** Each worker may be held up by an fsync; another one must be there for its processor. */
  private static final int FEWEST_PER_CPU = 2;

  /** Workers take memory; where there would be more the ordinary way is the better one. */
  private static final int MOST = 512;

  private Rings() {}

  /** Workers for every queue; none where the kernel or the options do not want them. */
  static List<RingWorker> prepare(int device, MountOptions options) {
    List<RingWorker> workers = new ArrayList<>();
    try {
      if (!options.ioUring() || !Files.readString(ENABLED).startsWith("Y")) {
        return List.of();
      }
      int cpus = possibleCpus(Files.readString(POSSIBLE));
      int perCpu = Math.max(FEWEST_PER_CPU, Math.ceilDiv(2 * options.threads(), cpus));
      if (cpus * perCpu > MOST) {
        LOG.info("{} possible processors are too many for io_uring", cpus);
        return List.of();
      }
      for (int i = 0; i < perCpu; i++) {
        for (int cpu = 0; cpu < cpus; cpu++) {
          workers.add(new RingWorker(device, cpu, options.maxWrite()));
        }
      }
      return workers;
    } catch (IOException | NumberFormatException e) {
      LOG.info("No io_uring: {}", e.getMessage());
      workers.forEach(Worker::close);
      return List.of();
    }
  }

  /** The number in a list such as {@code 0-3}. */
  static int possibleCpus(String list) {
    return Integer.parseInt(list.strip().replaceAll(".*[-,]", "")) + 1;
  }
}
