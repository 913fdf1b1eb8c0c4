package io.pgveil.app;

import io.pgveil.app.cluster.MountPoint;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Unmounting. */
@Command(
    name = "umount",
    description = {
      "Unmount and wait until the daemon has let go of the cipher directory.",
      "Stop PostgreSQL first: a mount that is in use is not unmounted."
    })
final class UmountCommand extends PgveilCommand {
  @Parameters(
      paramLabel = "DIR",
      description = "The mount point, the cipher directory, or a directory made by 'up'.")
  Path directory;

  @Override
  ExitCode run() throws CommandException {
    say("unmounted " + MountPoint.unmount(directory));
    return ExitCode.OK;
  }
}
