package io.pgveil.app;

import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;

/** A command that runs until it is done or a signal asks it to stop, and then cleans up. */
abstract class StoppableCommand extends PgveilCommand {
  @Override
  final ExitCode run() throws CommandException, InterruptedException {
    StopRequest stop = StopRequest.onSignal();
    ExitCode code = ExitCode.INTERNAL;
    try {
      code = run(stop);
    } catch (CommandException e) {
      code = e.exitCode();
      throw e;
    } finally {
      stop.finished(code.code());
    }
    return code;
  }

  abstract ExitCode run(StopRequest stop) throws CommandException, InterruptedException;
}
