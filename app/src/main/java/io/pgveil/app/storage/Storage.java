package io.pgveil.app.storage;

import static java.util.stream.Collectors.joining;

import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Executor;
import io.pgveil.app.error.CommandException;
import io.pgveil.datadir.check.Inspector;
import io.pgveil.datadir.check.Report;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The floors below, as the commands need them: keys, encrypting file system, mount. Every method
 * that takes a cipher directory expects the caller to hold its {@link ClusterLock}.
 */
public interface Storage {
  /**
   * A cipher directory to be made.
   *
   * @param cipherDirectory an empty directory, owned by the user of PostgreSQL
   * @param provider the first key provider
   * @param keyName name of the principal key, which becomes default and server key
   * @param keyBits 128 or 256
   */
  record NewCluster(Path cipherDirectory, FirstProvider provider, String keyName, int keyBits) {}

  /** The global key provider that a new cluster gets, as for {@code provider add}. */
  record FirstProvider(String name, String type, Map<String, String> options) {
    private static final String FILE = "file";
    private static final String PATH = "path";

    /** The file key provider; the keyring is made if it is missing. */
    public static FirstProvider keyring(Path file) {
      return new FirstProvider("keyring", FILE, Map.of(PATH, file.toString()));
    }

    /** The keyring of the file key provider; null for another type. */
    public @Nullable Path keyring() {
      String path = options.get(PATH);
      return type.equals(FILE) && path != null ? Path.of(path) : null;
    }

    /** Where the keys are, for people. */
    public String place() {
      return place(type, options);
    }

    /** See {@link #place()}. */
    public static String place(String type, Map<String, String> options) {
      return type.equals(FILE)
          ? options.getOrDefault(PATH, "?")
          : type
              + options.entrySet().stream()
                  .map(o -> " " + o.getKey() + "=" + o.getValue())
                  .collect(joining());
    }
  }

  /** What to mount and how. */
  record MountRequest(Path cipherDirectory, Path mountPoint, Serving serving) {}

  /**
   * How to serve.
   *
   * @param acceptTornPages serve clusters that hazard 10 of the design refuses
   * @param providerWait how long the start waits for a key provider that does not answer
   * @param providerCheck time between two looks whether the providers still give the keys in use;
   *     zero: never
   * @param refuseAfter how long a principal key may not be to be had before files whose internal
   *     keys are not in use are refused; null: for ever
   * @param workers number of worker threads
   */
  record Serving(
      boolean acceptTornPages,
      Duration providerWait,
      Duration providerCheck,
      @Nullable Duration refuseAfter,
      int workers) {
    public static final Serving DEFAULT =
        new Serving(false, Duration.ofSeconds(60), Duration.ofSeconds(60), null, 4);
  }

  /** A mounted cluster. */
  interface Mounted {
    /** Executes key commands with the keys that the mount uses. */
    Executor executor();

    /** Figures of the mount, in the text format of Prometheus; noted from the first call on. */
    Supplier<String> metrics();

    /** Completes when the mount is gone, whoever has unmounted it. */
    CompletableFuture<Void> ended();

    /**
     * Unmounts, if that was not done before, and returns after the last request.
     *
     * @throws CommandException if the mount is in use; then it goes on
     */
    void unmount() throws CommandException;
  }

  /** Shows how far long work is. */
  interface Progress {
    /**
     * So much is done.
     *
     * @param done bytes
     * @param total bytes
     */
    void update(long done, long total);
  }

  /**
   * Makes keyring, principal key, key directory and seal, durably. If that fails the cipher
   * directory is empty again; the keyring stays, with what it holds.
   */
  void create(NewCluster cluster) throws CommandException;

  /**
   * Opens the keys of a cluster that no daemon serves.
   *
   * @param readOnly changes no file, and needs no lock
   */
  ControlClient.OpenCluster open(Path cipherDirectory, boolean readOnly) throws CommandException;

  /**
   * Mounts; returns when the mount can be used. From now on the umask of this process is 0, and
   * every file that it creates needs its mode said.
   */
  Mounted mount(MountRequest request) throws CommandException;

  /** Reads all of a stopped cluster, of pgveil or of pg_tde; changes nothing. */
  Report verify(Path cipherDirectory, Progress progress) throws CommandException;

  /**
   * Tells what a file is. Needs no lock and, for what the file itself says, no key.
   *
   * @param cipherDirectory where the file lies, null if that is no cipher directory, as for a
   *     keyring
   * @param block number of the page within the file to look at
   * @return in the order in which it is to be shown; never key bytes
   */
  List<Inspector.Group> inspect(@Nullable Path cipherDirectory, Path file, int block)
      throws CommandException;
}
