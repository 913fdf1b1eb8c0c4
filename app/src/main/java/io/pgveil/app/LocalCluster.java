package io.pgveil.app;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.Layout;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.metrics.MetricsAddress;
import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.Modes;
import io.pgveil.app.postgres.PostgresBinaries;
import io.pgveil.app.postgres.PostgresServer;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.app.storage.Storage;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.event.Level;

/**
 * An encrypted PostgreSQL in one directory: what {@code up} makes at first use and starts later.
 * See {@link Layout} for the directory.
 *
 * <p>Mount and server live in this process and its child. The files of the mount are never opened
 * here: a thread that waits for its own daemon could not even be killed.
 */
final class LocalCluster {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final int MAX_FIRST_KEYS = 100;
  private static final int DEFAULT_PORT = 5432;

  /**
   * What the user has chosen; null where the choice is ours.
   *
   * @param serverSettings configuration parameters for this run of the server
   */
  record Options(
      Path root,
      @Nullable Path binDirectory,
      @Nullable Integer major,
      @Nullable String runAs,
      @Nullable Integer port,
      Storage.FirstProvider provider,
      @Nullable String keyName,
      int keyBits,
      Storage.Serving serving,
      @Nullable MetricsAddress metrics,
      Level logLevel,
      boolean harden,
      Map<String, String> serverSettings) {}

  private final Layout layout;
  private final Daemon daemon;
  private final PostgresServer server;
  private final RunAs runAs;

  private LocalCluster(Layout layout, Daemon daemon, PostgresServer server, RunAs runAs) {
    this.layout = layout;
    this.daemon = daemon;
    this.server = server;
    this.runAs = runAs;
  }

  /**
   * Makes the cluster if it is not there, mounts it and starts PostgreSQL.
   *
   * @param say is told each step
   */
  static LocalCluster start(Storage storage, Options options, Consumer<String> say)
      throws CommandException, InterruptedException {
    Layout layout = new Layout(options.root);
    RunAs runAs = RunAs.resolve(options.runAs);
    Optional<UpSettings> earlier = UpSettings.read(layout.settings());
    Integer major =
        options.major != null ? options.major : earlier.map(UpSettings::major).orElse(null);
    PostgresBinaries binaries =
        options.binDirectory != null
            ? PostgresBinaries.in(options.binDirectory)
            : EmbeddedPostgres.bundled(major);
    if (options.binDirectory != null && options.major != null) {
      binaries.requireMajor(options.major, layout.root());
    }
    if (!layout.socketFits()) {
      throw new CommandException(
          ExitCode.USAGE,
          "cannot use the directory: %s: the path of a socket in it is longer than a Unix socket allows"
              .formatted(layout.root()),
          "choose a directory with a shorter path");
    }
    try {
      makeDirectories(layout, runAs);
      try (FirstUse firstUse = FirstUse.lock(layout)) {
        boolean startOver = earlier.isEmpty() && firstUse.wasInterrupted();
        if (startOver) {
          say.accept(
              "the first use was interrupted before the cluster was complete: starting over");
          firstUse.repair();
        }
        String password = password(layout);
        UpSettings settings = new UpSettings(binaries.major(), port(options.port, earlier));
        if (earlier.isEmpty()
            && CipherDirectory.kind(layout.cipher()) == CipherDirectory.Kind.EMPTY) {
          firstUse.begin();
          createCipherDirectory(storage, layout, options, say);
        }
        Daemon daemon = Daemon.start(storage, daemonOptions(layout, options), "up");
        try {
          PostgresServer server =
              new PostgresServer(
                  serverConfig(layout, binaries, runAs, settings.port(), password, options));
          if (startOver) {
            server.clear();
          }
          if (earlier.isEmpty() && needsInitdb(server, layout)) {
            firstUse.begin();
            say.accept("initdb with PostgreSQL " + binaries.version() + " through the mount");
            initdb(binaries, runAs, layout, password);
            settings.write(layout.settings());
          }
          // the cluster is complete, and up.json says so: from now on nothing starts over
          firstUse.end();
          server.start(PATIENCE);
          if (!UpSettings.read(layout.settings()).equals(Optional.of(settings))) {
            settings.write(layout.settings());
          }
          return new LocalCluster(layout, daemon, server, runAs);
        } catch (CommandException | IOException | InterruptedException | RuntimeException e) {
          daemon.stopWhenUnused();
          throw e;
        }
      }
    } catch (IOException e) {
      boolean full =
          e instanceof FileSystemException f
              && f.getReason() != null
              && f.getReason().contains("No space left");
      throw new CommandException(
              full ? ExitCode.DISK_FULL : ExitCode.NO_PERMISSION,
              "cannot set up the directory",
              layout.root(),
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /**
   * Whether there is no cluster on the mount yet.
   *
   * @throws CommandException if there is something else; nobody can say whether it is of value
   */
  private static boolean needsInitdb(PostgresServer server, Layout layout) throws CommandException {
    return switch (server.content()) {
      case NOTHING -> true;
      case CLUSTER -> false;
      case OTHER ->
          throw new CommandException(
              ExitCode.CIPHER_DIR_NOT_EMPTY,
              ("cannot make a cluster: %s: there are files in it, but no complete cluster"
                      + " (PG_VERSION, global/pg_control)")
                  .formatted(layout.cipher()),
              "complete it through a mount, or remove what is in "
                  + layout.cipher()
                  + " and run 'pgveil up' again");
    };
  }

  private static Daemon.Options daemonOptions(Layout layout, Options options) {
    return new Daemon.Options(
        layout.cipher(),
        layout.mount(),
        layout.log(),
        options.logLevel,
        options.serving,
        options.metrics,
        options.harden);
  }

  private static PostgresServer.Config serverConfig(
      Layout layout,
      PostgresBinaries binaries,
      RunAs runAs,
      int port,
      String password,
      Options options) {
    Map<String, String> settings = new LinkedHashMap<>();
    // the log quotes statements: it goes to the data directory, where it is encrypted
    settings.put("logging_collector", "on");
    settings.put("log_directory", "log");
    settings.putAll(options.serverSettings);
    return new PostgresServer.Config(
        binaries,
        runAs,
        layout.mount(),
        layout.sockets(),
        layout.postgresStartLog(),
        port,
        password,
        settings);
  }

  /**
   * Makes what is missing of the layout, durably: the first key must not be lost with its place.
   */
  private static void makeDirectories(Layout layout, RunAs runAs)
      throws IOException, CommandException {
    Durable.makeDirectories(layout.root(), 0755);
    makeDirectory(layout.root().resolve("log"), 0750, null);
    makeDirectory(layout.sockets(), 0755, runAs);
    makeDirectory(layout.mount(), Posix.geteuid() == 0 ? 0 : 0300, null);
    runAs.requireReachable(layout.sockets());
    makeDirectory(layout.cipher(), 0700, runAs);
    Durable.sync(layout.root());
  }

  private static void makeDirectory(Path directory, int mode, @Nullable RunAs owner)
      throws IOException {
    try {
      Files.createDirectory(directory, Modes.with(mode));
    } catch (FileAlreadyExistsException e) {
      // as an earlier use has left it; a mount whose daemon has died answers nothing but that
      return;
    }
    if (owner != null) {
      owner.own(directory);
    }
  }

  private static void createCipherDirectory(
      Storage storage, Layout layout, Options options, Consumer<String> say)
      throws IOException, CommandException {
    List<Path> made = List.of();
    for (int n = 1; ; n++) {
      String key = options.keyName != null ? options.keyName : "principal-key-" + n;
      Storage.NewCluster cluster =
          NewClusters.checked(
              new Storage.NewCluster(layout.cipher(), options.provider, key, options.keyBits));
      Path keyring = cluster.provider().keyring();
      try {
        if (n == 1 && keyring != null) {
          made = Durable.makeDirectories(keyring.resolveSibling("."), 0700);
        }
        storage.create(cluster);
        say.accept(
            "principal key %s in %s%s"
                .formatted(key, keyring == null ? "" : "the keyring ", cluster.provider().place()));
        return;
      } catch (CommandException e) {
        // a first use that failed or was interrupted may have left a key in the keyring
        if (e.exitCode() != ExitCode.KEY_REFUSED
            || options.keyName != null
            || n == MAX_FIRST_KEYS) {
          Durable.removeEmpty(made);
          throw e;
        }
      }
    }
  }

  private static void initdb(PostgresBinaries binaries, RunAs runAs, Layout layout, String password)
      throws IOException, CommandException {
    // not below run/: there the server's user could put a link in place of the file
    Path file = layout.root().resolve("initdb-password");
    Files.deleteIfExists(file);
    Files.createFile(file, Modes.with(0600));
    try {
      Files.writeString(file, password + "\n");
      runAs.own(file);
      PostgresServer.initdb(binaries, runAs, layout.mount(), file, List.of());
    } finally {
      Files.deleteIfExists(file);
    }
  }

  /** The superuser's password, made at first use, as libpq and people read it. */
  private static String password(Layout layout) throws IOException {
    Path file = layout.passwordFile();
    if (Files.exists(file)) {
      String line = Files.readString(file).strip();
      return line.substring(line.lastIndexOf(':') + 1);
    }
    byte[] random = new byte[16];
    new SecureRandom().nextBytes(random);
    String password = HexFormat.of().formatHex(random);
    String line = "*:*:*:%s:%s\n".formatted(PostgresServer.SUPERUSER, password);
    Durable.write(file, line.getBytes(UTF_8), 0600);
    return password;
  }

  private static int port(@Nullable Integer wanted, Optional<UpSettings> earlier)
      throws IOException {
    if (wanted != null) {
      return wanted;
    }
    if (earlier.isPresent()) {
      return earlier.get().port();
    }
    return PostgresServer.isFree(DEFAULT_PORT) ? DEFAULT_PORT : PostgresServer.anyFreePort();
  }

  /** For psql and other users of libpq; the password is in the file that it names. */
  String connectionString() {
    return "postgresql://%s@127.0.0.1:%d/postgres?passfile=%s"
        .formatted(PostgresServer.SUPERUSER, server.config().port(), layout.passwordFile());
  }

  /** Where the keys are with which the cluster can be read: its global key providers. */
  List<String> keyPlaces() throws CommandException {
    Reply reply = daemon.executor().execute(new Request.ListProviders(null));
    return ((Reply.Providers) reply)
        .providers().stream()
            .map(p -> Storage.FirstProvider.place(p.type(), p.options()))
            .distinct()
            .toList();
  }

  Layout layout() {
    return layout;
  }

  PostgresServer server() {
    return server;
  }

  Daemon daemon() {
    return daemon;
  }

  RunAs runAs() {
    return runAs;
  }

  /** Stops PostgreSQL, then unmounts. */
  void stop() throws CommandException, InterruptedException {
    server.stop(PostgresServer.Stop.FAST, PATIENCE);
    daemon.stopWhenUnused();
  }
}
