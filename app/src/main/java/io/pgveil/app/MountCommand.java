package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.Layout;
import io.pgveil.app.daemon.ServiceManager;
import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The daemon in the foreground. */
@Command(
    name = "mount",
    description = {
      "Serve a cipher directory as PostgreSQL's data directory, until it is unmounted.",
      "Stays in the foreground; tells systemd when it is ready (Type=notify). SIGTERM and Ctrl-C"
          + " unmount, as soon as PostgreSQL no longer uses the mount.",
      "While nothing is mounted the mount point is closed to everybody, so that PostgreSQL cannot"
          + " start on the bare directory."
    })
final class MountCommand extends StoppableCommand {
  @Parameters(index = "0", paramLabel = "CIPHERDIR", description = "The cipher directory.")
  Path cipherDirectory;

  @Parameters(index = "1", paramLabel = "MOUNTPOINT", description = "An empty directory.")
  Path mountPoint;

  @Option(
      names = "--log-file",
      paramLabel = "FILE",
      description =
          "Default: in /var/log/pgveil, for ordinary users in ~/.local/state/pgveil. Rotated at 10"
              + " MiB.")
  @Nullable Path logFile;

  @Mixin ServeOptions serve = new ServeOptions();

  @Override
  ExitCode run(StopRequest stop) throws CommandException, InterruptedException {
    Path cipher = CipherDirectory.require(cipherDirectory, "cannot mount");
    FirstUse.forget(cipher);
    Path log = logFile == null ? Layout.logFile(cipher) : logFile;
    Daemon daemon =
        Daemon.start(
            storage(),
            new Daemon.Options(
                cipher,
                mountPoint,
                log,
                serve.logLevel,
                serve.serving(),
                serve.metrics,
                isProgram()),
            "mount");
    ServiceManager manager = new ServiceManager();
    stop.when(daemon.ended());
    say("mounted " + cipher + " on " + daemon.mountPoint() + ", log: " + log);
    manager.ready("serving " + cipher);
    stop.await();
    manager.stopping();
    daemon.stopWhenUnused();
    return ExitCode.OK;
  }
}
