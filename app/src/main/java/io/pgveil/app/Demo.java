package io.pgveil.app;

import io.pgveil.app.cluster.Layout;
import io.pgveil.app.control.Executor;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import io.pgveil.app.postgres.PostgresServer;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.app.storage.Storage;
import io.pgveil.datadir.check.Inspector;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.event.Level;

/**
 * Shows that nothing is left in the clear and that keys change as promised: the same work on a
 * plain and on an encrypted cluster, looked at from below. Each check has a name and evidence.
 */
final class Demo {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final int ROWS = 5000;
  private static final String SECOND_KEY = "principal-key-2";

  /** Autovacuum off: between two looks at the files nobody else shall write. */
  private static final Map<String, String> SERVER_SETTINGS =
      Map.of("autovacuum", "off", "log_statement", "all", "jit", "off");

  /**
   * One thing that was to be shown.
   *
   * @param evidence what was seen
   */
  record Check(String name, boolean passed, String evidence) {}

  private final Storage storage;
  private final Path root;
  private final @Nullable Path binDirectory;
  private final @Nullable Integer major;
  private final @Nullable String runAsName;
  private final int keyBits;
  private final boolean harden;
  private final Consumer<String> say;
  private final BooleanSupplier cancelled;

  private final String marker = "pgveilneedle" + randomHex(8) + "x";
  private final List<Check> checks = new ArrayList<>();

  Demo(
      Storage storage,
      Path root,
      PostgresOptions postgres,
      int keyBits,
      boolean harden,
      Consumer<String> say,
      BooleanSupplier cancelled) {
    this.storage = storage;
    this.root = root;
    this.binDirectory = postgres.binDirectory;
    this.major = postgres.major;
    this.runAsName = postgres.runAs;
    this.keyBits = keyBits;
    this.harden = harden;
    this.say = say;
    this.cancelled = cancelled;
  }

  /** Places where clear data could lie, with the file of a cluster that must hold the needle. */
  private enum Place {
    table,
    index,
    catalog,
    wal,
    log,
    spill;

    /** Path prefix below the data directory. */
    String prefix(Statement s) throws SQLException {
      return switch (this) {
        case table -> text(s, "SELECT pg_relation_filepath('needle_table')");
        case index -> text(s, "SELECT pg_relation_filepath('needle_index')");
        case catalog -> text(s, "SELECT pg_relation_filepath('pg_description')");
        case wal -> "pg_wal/";
        case log -> "log/";
        case spill -> "base/pgsql_tmp/";
      };
    }
  }

  /** Runs every check; leaves nothing mounted and nothing running. */
  List<Check> run() throws CommandException, IOException, SQLException, InterruptedException {
    LocalCluster cluster = LocalCluster.start(storage, options(), say);
    try {
      needles(cluster);
      step();
      rotation(cluster);
      step();
      vacuumFull(cluster);
      step();
      restart(cluster);
    } finally {
      cluster.stop();
    }
    step();
    wrongKeyring(cluster.layout(), cluster.server().config().port());
    return checks;
  }

  private LocalCluster.Options options() {
    return new LocalCluster.Options(
        root.resolve("pgveil"),
        binDirectory,
        major,
        runAsName,
        null,
        Storage.FirstProvider.keyring(new Layout(root.resolve("pgveil")).keyring()),
        null,
        keyBits,
        Storage.Serving.DEFAULT,
        null,
        Level.INFO,
        harden,
        SERVER_SETTINGS);
  }

  private void step() {
    if (cancelled.getAsBoolean()) {
      throw new CancellationException();
    }
  }

  private void check(String name, boolean passed, String evidence) {
    checks.add(new Check(name, passed, evidence));
    say.accept("%s  %s: %s".formatted(passed ? "ok    " : "FAILED", name, evidence));
  }

  // ---- needles ----

  private void needles(LocalCluster cluster)
      throws CommandException, IOException, SQLException, InterruptedException {
    say.accept("control run: needles in a plain directory");
    boolean finds = control(cluster);
    step();
    say.accept("the same through the mount");
    Path cipher = cluster.layout().cipher();
    try (Connection c = cluster.server().connect("postgres");
        Statement s = c.createStatement()) {
      Map<Place, String> prefixes = work(c, s);
      String rows =
          text(s, "SELECT count(*) FROM needle_table WHERE v LIKE '" + marker + "table%'");
      check("rows are readable through SQL", rows.equals("" + ROWS), rows + " rows");
      sync(cluster);
      NeedleScan scan = NeedleScan.of(cipher, marker);
      String absent = placesWithoutData(cipher, prefixes);
      // a search that has not found what there was to find says nothing
      check(
          "no needle in the cipher directory",
          finds && scan.names().isEmpty() && absent.isEmpty(),
          scanned(scan)
              + ", "
              + (finds ? scan.names().size() : "?")
              + " of "
              + Place.values().length
              + " needles found"
              + (absent.isEmpty() ? "" : ", but no data of " + absent)
              + (scan.names().isEmpty() ? "" : ": " + scan.names()));
    }
  }

  /** Returns whether the search has found every needle where nothing is encrypted. */
  private boolean control(LocalCluster cluster)
      throws CommandException, IOException, SQLException, InterruptedException {
    PostgresServer.Config like = cluster.server().config();
    RunAs runAs = like.runAs();
    Path data = Files.createDirectory(root.resolve("plain"), Modes.with(0700));
    runAs.own(data);
    Path passwordFile = Files.createFile(root.resolve("plain-password"), Modes.with(0600));
    Files.writeString(passwordFile, like.password() + "\n");
    runAs.own(passwordFile);
    PostgresServer.initdb(like.binaries(), runAs, data, passwordFile, List.of("--no-sync"));
    try (PostgresServer server =
        new PostgresServer(
            new PostgresServer.Config(
                like.binaries(),
                runAs,
                data,
                like.socketDirectory(),
                root.resolve("plain.log"),
                PostgresServer.anyFreePort(),
                like.password(),
                like.settings()))) {
      server.start(PATIENCE);
      try (Connection c = server.connect("postgres");
          Statement s = c.createStatement()) {
        Map<Place, String> prefixes = work(c, s);
        NeedleScan scan = NeedleScan.of(data, marker);
        String missing =
            prefixes.entrySet().stream()
                .filter(
                    p ->
                        scan.filesWith(p.getKey().name()).stream()
                            .noneMatch(f -> f.toString().startsWith(p.getValue())))
                .map(p -> p.getKey().name())
                .collect(Collectors.joining(", "));
        check(
            "control: every needle in a plain directory",
            missing.isEmpty(),
            scanned(scan)
                + (missing.isEmpty()
                    ? ", all needles found: in " + List.of(Place.values())
                    : ", not found: " + missing));
        return missing.isEmpty();
      }
    }
  }

  /**
   * Puts a needle into every place, and leaves a sort open so that its spill file stays.
   *
   * @return for each place the path prefix of its files
   */
  private Map<Place, String> work(Connection c, Statement s) throws SQLException {
    s.execute("CREATE TABLE needle_table (id int, v text)");
    s.execute(
        "INSERT INTO needle_table SELECT i, '%stable-' || md5(i::text) FROM generate_series(1, %d) i"
            .formatted(marker, ROWS));
    s.execute("CREATE INDEX needle_index ON needle_table (replace(v, 'table-', 'index-'))");
    s.execute("COMMENT ON TABLE needle_table IS '" + marker + "catalog'");
    s.execute("SELECT pg_logical_emit_message(true, 'demo', '" + marker + "wal')");
    s.execute("SELECT '" + marker + "log'");
    s.execute("CHECKPOINT");
    Map<Place, String> prefixes = new TreeMap<>();
    for (Place place : Place.values()) {
      prefixes.put(place, place.prefix(s));
    }
    c.setAutoCommit(false);
    s.execute("SET LOCAL work_mem = '64kB'");
    s.execute(
        "DECLARE spilled CURSOR FOR SELECT replace(v, 'table-', 'spill-') x FROM needle_table"
            + " ORDER BY x");
    s.execute("FETCH 1 FROM spilled");
    return prefixes;
  }

  /**
   * The kernel may keep what was written to the mount for a while; now it gives it to the daemon.
   */
  private static void sync(LocalCluster cluster) throws CommandException {
    cluster.server().sync();
  }

  private static String placesWithoutData(Path directory, Map<Place, String> prefixes)
      throws IOException {
    List<String> sized = new ArrayList<>();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path f : files.filter(Files::isRegularFile).toList()) {
        if (Files.size(f) > 0) {
          sized.add(f.toString());
        }
      }
    }
    return prefixes.entrySet().stream()
        .filter(p -> sized.stream().noneMatch(f -> f.contains("/" + p.getValue())))
        .map(p -> p.getKey().name())
        .collect(Collectors.joining(", "));
  }

  private static String scanned(NeedleScan scan) {
    return "%,d bytes in %,d files scanned".formatted(scan.bytes(), scan.files());
  }

  // ---- keys ----

  private void rotation(LocalCluster cluster) throws CommandException, IOException, SQLException {
    Executor executor = cluster.daemon().executor();
    Path cipher = cluster.layout().cipher();
    query(cluster, "CHECKPOINT");
    sync(cluster);
    Reply.Status before = status(executor);
    Map<String, String> filesBefore = dataFiles(cipher);
    String provider =
        before.scopes().stream()
            .filter(k -> k.oid() == Scope.DEFAULT && k.provider() != null)
            .map(k -> String.valueOf(k.provider()))
            .findFirst()
            .orElse("?");
    executor.execute(new Request.CreateKey(SECOND_KEY, provider, null));
    executor.execute(new Request.SetKey(Scope.DEFAULT, SECOND_KEY, provider, null));
    executor.execute(new Request.SetKey(Scope.SERVER, SECOND_KEY, provider, null));
    Reply.Status after = status(executor);
    boolean rotated = after.scopes().stream().allMatch(k -> SECOND_KEY.equals(k.key()));
    boolean untouched = dataFiles(cipher).equals(filesBefore);
    check(
        "principal key rotated, data files untouched",
        rotated && untouched,
        "%s -> %s, %d internal keys wrapped anew, %s of %d data files changed"
            .formatted(
                keyNames(before),
                keyNames(after),
                after.scopes().stream().mapToInt(Reply.ScopeKey::internalKeys).sum(),
                untouched ? "none" : "some",
                filesBefore.size()));
  }

  private static String keyNames(Reply.Status status) {
    return status.scopes().stream()
        .map(k -> String.valueOf(k.key()))
        .distinct()
        .collect(Collectors.joining(", "));
  }

  private void vacuumFull(LocalCluster cluster) throws CommandException, IOException, SQLException {
    String before = internalKey(cluster);
    query(cluster, "VACUUM FULL needle_table");
    query(cluster, "CHECKPOINT");
    String after = internalKey(cluster);
    check(
        "VACUUM FULL gives a table a new internal key",
        !before.isEmpty() && !after.isEmpty() && !before.equals(after),
        before + " -> " + after);
  }

  private String internalKey(LocalCluster cluster) throws CommandException, SQLException {
    Path file =
        cluster
            .layout()
            .cipher()
            .resolve(query(cluster, "SELECT pg_relation_filepath('needle_table')"));
    return storage.inspect(cluster.layout().cipher(), file, 0).stream()
        .flatMap(g -> g.fields().stream())
        .filter(f -> f.name().equals(Inspector.BASE_IV))
        .map(Inspector.Field::value)
        .findFirst()
        .orElse("");
  }

  private void restart(LocalCluster cluster)
      throws CommandException, SQLException, InterruptedException {
    Executor executor = cluster.daemon().executor();
    int before = status(executor).walRanges();
    cluster.server().stop(PostgresServer.Stop.FAST, PATIENCE);
    cluster.server().start(PATIENCE);
    query(cluster, "INSERT INTO needle_table VALUES (0, 'after the restart')");
    Reply.Status after = status(executor);
    check(
        "a restart gives WAL a new internal key",
        after.walRanges() > before && after.walEncrypted(),
        "%d -> %d WAL ranges".formatted(before, after.walRanges()));
  }

  private static Reply.Status status(Executor executor) throws CommandException {
    return (Reply.Status) executor.execute(new Request.Status());
  }

  /** Hashes of the cluster's relation files. */
  private static Map<String, String> dataFiles(Path cipher) throws IOException {
    Map<String, String> hashes = new LinkedHashMap<>();
    try (Stream<Path> files = Files.walk(cipher)) {
      for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
        String path = cipher.relativize(file).toString();
        if (("/" + path).matches(".*/(base|global)/.*")) {
          hashes.put(path, hash(file));
        }
      }
    }
    return hashes;
  }

  private static String hash(Path file) throws IOException {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      try (InputStream in = new DigestInputStream(Files.newInputStream(file), digest)) {
        in.transferTo(OutputStream.nullOutputStream());
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  // ---- wrong keyring ----

  /**
   * The cluster is stopped; its keyring is exchanged for one with the same name and other bytes.
   */
  private void wrongKeyring(Layout layout, int port)
      throws CommandException, IOException, InterruptedException {
    Path strange = Files.createDirectory(root.resolve("strange"), Modes.with(0700));
    Path wrong = root.resolve("wrong.file");
    storage.create(
        new Storage.NewCluster(strange, Storage.FirstProvider.keyring(wrong), SECOND_KEY, keyBits));
    Path aside = layout.keyring().resolveSibling("keyring.right");
    Files.move(layout.keyring(), aside);
    try {
      Files.move(wrong, layout.keyring());
      StringWriter errors = new StringWriter();
      int code =
          Main.commandLine(storage, false)
              .setErr(new PrintWriter(errors, true))
              .execute(
                  "mount",
                  layout.cipher().toString(),
                  layout.mount().toString(),
                  "--log-file",
                  layout.log().toString());
      check(
          "with the wrong keyring mount fails and names the key",
          code == ExitCode.PRINCIPAL_KEY_WRONG.code() && errors.toString().contains(SECOND_KEY),
          errors.toString().contains(SECOND_KEY)
              ? "exit code " + code + ", it names " + SECOND_KEY
              : "exit code " + code + ", " + errors);
      String outcome = tryStart();
      check(
          "with the wrong keyring PostgreSQL is not started",
          outcome.equals(ExitCode.PRINCIPAL_KEY_WRONG.label()) && PostgresServer.isFree(port),
          "up: " + outcome + ", nobody listens on port " + port);
    } finally {
      Files.deleteIfExists(layout.keyring());
      Files.move(aside, layout.keyring());
    }
  }

  private String tryStart() throws InterruptedException, CommandException {
    try {
      LocalCluster.start(storage, options(), step -> {}).stop();
      return "started";
    } catch (CommandException e) {
      return e.exitCode().label();
    }
  }

  // ---- SQL ----

  private static String query(LocalCluster cluster, String sql) throws SQLException {
    try (Connection c = cluster.server().connect("postgres");
        Statement s = c.createStatement()) {
      return text(s, sql);
    }
  }

  /** The first value of the result, or nothing. */
  private static String text(Statement s, String sql) throws SQLException {
    if (!s.execute(sql)) {
      return "";
    }
    try (ResultSet r = s.getResultSet()) {
      return r.next() ? String.valueOf(r.getString(1)) : "";
    }
  }

  private static String randomHex(int bytes) {
    byte[] random = new byte[bytes];
    new SecureRandom().nextBytes(random);
    return HexFormat.of().formatHex(random);
  }
}
