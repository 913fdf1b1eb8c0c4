package io.pgveil.app;

import io.pgveil.app.cluster.Layout;
import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.PostgresServer;
import io.pgveil.app.storage.Storage;
import io.pgveil.app.storage.Storage.FirstProvider;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.slf4j.event.Level;
import picocli.CommandLine.Command;

/**
 * The work of {@code up}, from nothing to a server that is stopped again, in a temporary place:
 * what the JVM learns from it goes into the ahead-of-time cache (JEP 514 and 515), with which later
 * starts are faster. Only {@code ./pgveil} calls it.
 */
@Command(name = "rehearse", hidden = true, description = "Make a cluster and remove it again.")
final class RehearseCommand extends StoppableCommand {
  @Override
  ExitCode run(StopRequest stop) throws CommandException, InterruptedException {
    TemporaryRoot root = TemporaryRoot.make();
    try {
      LocalCluster.start(storage(), options(root, PostgresServer.anyFreePort()), step -> {}).stop();
      return ExitCode.OK;
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.INTERNAL, "no free port", "127.0.0.1", CommandException.reason(e))
          .causedBy(e);
    } finally {
      root.remove(err());
    }
  }

  private LocalCluster.Options options(TemporaryRoot root, int port) {
    Path directory = root.path().resolve("pgveil");
    return new LocalCluster.Options(
        directory,
        null,
        null,
        null,
        port,
        FirstProvider.keyring(new Layout(directory).keyring()),
        null,
        new CipherOption().keyBits(),
        Storage.Serving.DEFAULT,
        null,
        Level.ERROR,
        isProgram(),
        Map.of());
  }
}
