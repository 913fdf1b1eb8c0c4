package io.pgveil.app;

import io.pgveil.app.cluster.Layout;
import io.pgveil.app.daemon.ServiceManager;
import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** An encrypted PostgreSQL in one command. */
@Command(
    name = "up",
    description = {
      "Start an encrypted PostgreSQL and run until Ctrl-C.",
      "The first use makes everything in DIR: keyring, cipher directory, mount, a cluster with data"
          + " checksums; later uses start it."
    })
final class UpCommand extends StoppableCommand {
  @Parameters(
      arity = "0..1",
      paramLabel = "DIR",
      description = "Default: ~/pgveil-data, for root /var/lib/pgveil.")
  @Nullable Path directory;

  @Option(
      names = "--port",
      paramLabel = "PORT",
      description =
          "TCP port on 127.0.0.1. Default: that of the first use, which takes 5432 or any free one.")
  @Nullable Integer port;

  @Mixin FirstProviderOption first = new FirstProviderOption();

  @Option(
      names = "--key",
      paramLabel = "NAME",
      description =
          "For a new cluster: name of its principal key. Default: principal-key-1, or the next"
              + " number that is free.")
  @Nullable String keyName;

  @Mixin PostgresOptions postgres = new PostgresOptions();
  @Mixin CipherOption cipher = new CipherOption();
  @Mixin ServeOptions serve = new ServeOptions();

  @Override
  ExitCode run(StopRequest stop) throws CommandException, InterruptedException {
    ServiceManager manager = new ServiceManager();
    LocalCluster cluster = LocalCluster.start(storage(), options(), this::say);
    stop.when(cluster.server().exit());
    stop.when(cluster.daemon().ended());
    announce(cluster);
    manager.ready("PostgreSQL accepts connections");
    stop.await();
    manager.stopping();
    CompletableFuture<Integer> exit = cluster.server().exit();
    say(exit.isDone() ? "PostgreSQL has ended; unmounting" : "stopping PostgreSQL and unmounting");
    cluster.stop();
    int code = exit.getNow(0);
    if (code != 0) {
      throw new CommandException(
          ExitCode.POSTGRES_FAILED,
          "PostgreSQL has failed",
          cluster.layout().root(),
          "exit code " + code);
    }
    say("stopped");
    return ExitCode.OK;
  }

  private LocalCluster.Options options() throws CommandException {
    Path root = directory == null ? Layout.defaultRoot() : directory;
    return new LocalCluster.Options(
        root,
        postgres.binDirectory,
        postgres.major,
        postgres.runAs,
        port,
        first.provider(new Layout(root).keyring()),
        keyName,
        cipher.keyBits(),
        serve.serving(),
        serve.metrics,
        serve.logLevel,
        isProgram(),
        Map.of());
  }

  private void announce(LocalCluster cluster) throws CommandException {
    Layout layout = cluster.layout();
    List<String> places = cluster.keyPlaces();
    boolean files = places.stream().allMatch(place -> place.startsWith("/"));
    out()
        .printf(
            """

            PostgreSQL %s is running as user %s; everything that it writes is encrypted.

              connect   psql '%s'
              %-9s %s
                        LOSING THE %s LOSES THE DATA. Keep a copy elsewhere, and never one
                        together with a copy of the cipher directory.
              files     %s (encrypted), %s (clear, while mounted)
              log       %s

            Ctrl-C stops PostgreSQL and unmounts.
            """,
            cluster.server().config().binaries().version(),
            cluster.runAs().name(),
            cluster.connectionString(),
            files ? "keyring" : "keys",
            String.join("\n            ", places),
            files ? "KEYRING" : "KEYS",
            layout.cipher(),
            layout.mount(),
            layout.log());
    out().flush();
  }
}
