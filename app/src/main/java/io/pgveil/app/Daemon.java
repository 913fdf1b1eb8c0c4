package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.cluster.Layout;
import io.pgveil.app.cluster.MountPoint;
import io.pgveil.app.control.ControlServer;
import io.pgveil.app.control.Executor;
import io.pgveil.app.daemon.DaemonLog;
import io.pgveil.app.daemon.ProcessHardening;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.metrics.MetricsAddress;
import io.pgveil.app.metrics.MetricsServer;
import io.pgveil.app.storage.Storage;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * The life of a mounted cluster in this process: lock, hardening, log, mount, control socket; and
 * all of it back in the other order. The lock is the first to be taken and the last to be given
 * back, so a second daemon never meets a request of the first.
 */
final class Daemon {
  private static final Logger LOG = LoggerFactory.getLogger(Daemon.class);
  private static final Duration RETRY = Duration.ofMillis(100);

  /** A server that has just ended may still be letting go of its files for so long. */
  private static final Duration SILENT = Duration.ofSeconds(3);

  /**
   * What to serve where.
   *
   * @param metrics where to serve metrics, null for nowhere
   * @param harden change this whole process for the task; not in tests
   */
  record Options(
      Path cipherDirectory,
      Path mountPoint,
      Path logFile,
      Level logLevel,
      Storage.Serving serving,
      @Nullable MetricsAddress metrics,
      boolean harden) {}

  private final Path mountPoint;
  private final ClusterLock lock;
  private final Storage.Mounted mounted;
  private final ControlServer control;
  private final @Nullable MetricsServer metrics;

  private Daemon(
      Path mountPoint,
      ClusterLock lock,
      Storage.Mounted mounted,
      ControlServer control,
      @Nullable MetricsServer metrics) {
    this.metrics = metrics;
    this.mountPoint = mountPoint;
    this.lock = lock;
    this.mounted = mounted;
    this.control = control;
  }

  /** Mounts; returns when the mount and the control socket can be used. */
  static Daemon start(Storage storage, Options options, String command) throws CommandException {
    Path cipher = CipherDirectory.require(options.cipherDirectory, "cannot mount");
    ClusterLock lock = ClusterLock.acquire(cipher, command);
    Storage.@Nullable Mounted mounted = null;
    @Nullable MetricsServer metrics = null;
    try {
      Path mountPoint = MountPoint.prepare(options.mountPoint, cipher);
      requireOutside("cannot write the log", options.logFile, cipher, mountPoint);
      Path socket = options.metrics == null ? null : options.metrics.file();
      if (socket != null) {
        requireOutside("cannot serve metrics", socket, cipher, mountPoint);
      }
      if (cipher.startsWith(mountPoint) || mountPoint.startsWith(cipher)) {
        throw new CommandException(
            ExitCode.USAGE,
            "cannot mount",
            mountPoint,
            "cipher directory and mount point lie in each other");
      }
      DaemonLog.toFile(options.logFile, options.logLevel);
      if (options.harden) {
        ProcessHardening.apply();
      }
      mounted = storage.mount(new Storage.MountRequest(cipher, mountPoint, options.serving));
      if (options.metrics != null) {
        metrics = MetricsServer.start(options.metrics, mounted.metrics());
      }
      ControlServer control =
          ControlServer.start(Layout.runDirectory(cipher), cipher, mounted.executor());
      lock.describe(command, control.socket(), mountPoint);
      LOG.info("mounted {} on {}", cipher, mountPoint);
      return new Daemon(mountPoint, lock, mounted, control, metrics);
    } catch (CommandException | RuntimeException e) {
      if (metrics != null) {
        metrics.close();
      }
      abandon(lock, mounted, e);
      throw e;
    }
  }

  /** Gives back what a failed start had taken. */
  private static void abandon(ClusterLock lock, Storage.@Nullable Mounted mounted, Exception why) {
    // an error is told by the command itself; this is for the log file
    LOG.info("not mounted: {}", why.getMessage());
    try (lock) {
      if (mounted != null) {
        mounted.unmount();
      }
    } catch (CommandException e) {
      why.addSuppressed(e);
    }
  }

  /**
   * A file on the mount would make the daemon wait for itself; in the cipher directory it is seen.
   */
  private static void requireOutside(String what, Path file, Path cipher, Path mountPoint)
      throws CommandException {
    Path absolute = file.toAbsolutePath().normalize();
    if (absolute.startsWith(cipher) || absolute.startsWith(mountPoint)) {
      throw new CommandException(
          ExitCode.USAGE, what, absolute, "it lies inside the cipher directory or the mount");
    }
  }

  /** Completes when the mount is gone, whoever has unmounted it. */
  CompletableFuture<Void> ended() {
    return mounted.ended();
  }

  Path mountPoint() {
    return mountPoint;
  }

  Executor executor() {
    return mounted.executor();
  }

  /**
   * Unmounts and gives everything back.
   *
   * @throws CommandException if the mount is in use; then everything goes on
   */
  void stop() throws CommandException {
    mounted.unmount();
    control.close();
    if (metrics != null) {
      metrics.close();
    }
    lock.close();
    LOG.info("unmounted {}", mountPoint);
  }

  /**
   * Unmounts as soon as nobody uses the mount: a server is never left without its files, nor a
   * mount without its daemon.
   */
  void stopWhenUnused() throws CommandException, InterruptedException {
    long silentUntil = System.nanoTime() + SILENT.toNanos();
    boolean told = false;
    while (true) {
      try {
        stop();
        return;
      } catch (CommandException e) {
        if (e.exitCode() != ExitCode.MOUNT_POINT_BUSY) {
          throw e;
        }
        if (!told && System.nanoTime() - silentUntil > 0) {
          LOG.warn("{}; waiting until it is no longer used", e.getMessage());
          told = true;
        }
        Thread.sleep(RETRY);
      }
    }
  }
}
