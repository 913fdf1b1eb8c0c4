package io.pgveil.app.daemon;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Protects a process that holds keys and serves a file system. What the system does not allow is
 * logged with the limit that forbids it, and the daemon goes on.
 *
 * <ul>
 *   <li>Key material: no core file, no ptrace and no /proc/PID/mem for other processes of the user,
 *       memory locked against swapping.
 *   <li>Memory pressure: the kernel's OOM killer takes us late, and worker threads allocate without
 *       waiting for write-back that they themselves have to do.
 * </ul>
 */
public final class ProcessHardening {
  private static final Logger LOG = LoggerFactory.getLogger(ProcessHardening.class);

  private static final Path SELF = Path.of("/proc/self");
  private static final int CAP_IPC_LOCK = 14;
  private static final int OOM_SCORE_ADJ = -900;

  private final List<String> warnings = new ArrayList<>();

  private ProcessHardening() {}

  /**
   * Hardens this process; to be called before the first key is in memory and before worker threads
   * exist.
   *
   * @return what could not be done and why
   */
  public static List<String> apply() {
    ProcessHardening h = new ProcessHardening();
    h.forbidCores();
    h.lockMemory();
    h.raiseFileLimit();
    h.write("oom_score_adj", "" + OOM_SCORE_ADJ, "the OOM killer may take the daemon early");
    // last: afterwards the files in /proc/self belong to root
    h.check(
        Posix.prctl(Posix.PR_SET_DUMPABLE, 0, 0, 0, 0),
        "PR_SET_DUMPABLE",
        "the user's other processes can read the daemon's memory");
    h.warnings.forEach(LOG::warn);
    return List.copyOf(h.warnings);
  }

  private void forbidCores() {
    check(
        Posix.setrlimit(Posix.RLIMIT_CORE, 0, 0), "RLIMIT_CORE", "a crash may write keys to disk");
    // where core_pattern is a pipe, RLIMIT_CORE 0 does not count
    write("coredump_filter", "0", "a crash may hand keys to the system's core collector");
  }

  private void lockMemory() {
    String consequence = "keys in the Java heap may be swapped out";
    long soft = Posix.getrlimit(Posix.RLIMIT_MEMLOCK)[0];
    // With a finite limit a later allocation of the JVM would fail, which ends the daemon
    if (soft != -1 && !hasCapability(CAP_IPC_LOCK)) {
      warnings.add(
          "memory is not locked: RLIMIT_MEMLOCK is %d bytes, unlimited or CAP_IPC_LOCK is needed: %s"
              .formatted(soft, consequence));
      return;
    }
    // ONFAULT: pages are locked when touched, a reserved heap is not made resident
    check(
        Posix.mlockall(Posix.MCL_CURRENT | Posix.MCL_FUTURE | Posix.MCL_ONFAULT),
        "mlockall",
        consequence);
  }

  private void raiseFileLimit() {
    long[] limit = Posix.getrlimit(Posix.RLIMIT_NOFILE);
    check(
        Posix.setrlimit(Posix.RLIMIT_NOFILE, limit[1], limit[1]),
        "RLIMIT_NOFILE",
        "only %d files can be open".formatted(limit[0]));
  }

  private static boolean hasCapability(int bit) {
    try {
      for (String line : Files.readAllLines(SELF.resolve("status"))) {
        if (line.startsWith("CapEff:")) {
          return (Long.parseUnsignedLong(line.substring(7).strip(), 16) >> bit & 1) == 1;
        }
      }
    } catch (IOException e) {
      LOG.debug("capabilities are unknown", e);
    }
    return false;
  }

  private void check(int result, String call, String consequence) {
    if (result < 0) {
      warnings.add("%s: %s: %s".formatted(call, Errno.describe(result), consequence));
    }
  }

  private void write(String file, String value, String consequence) {
    try {
      Files.writeString(SELF.resolve(file), value);
    } catch (IOException e) {
      warnings.add(
          "/proc/self/%s cannot be set to %s (%s): %s"
              .formatted(file, value, e.getMessage(), consequence));
    }
  }
}
