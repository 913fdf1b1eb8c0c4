package io.pgveil.app.storage;

import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Executor;
import io.pgveil.app.error.CommandException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * The floors below, as the commands need them: keys, encrypting file system, mount. Every method
 * that takes a cipher directory expects the caller to hold its {@link ClusterLock}.
 */
public interface Storage {
  /**
   * A cipher directory to be made.
   *
   * @param cipherDirectory an empty directory, owned by the user of PostgreSQL
   * @param keyring path for the file key provider; the keyring is made if it is missing
   * @param keyName name of the principal key, which becomes default and server key
   * @param keyBits 128 or 256
   */
  record NewCluster(Path cipherDirectory, Path keyring, String keyName, int keyBits) {}

  /**
   * What to mount and how.
   *
   * @param acceptTornPages serve clusters that hazard 10 of the design refuses
   * @param providerWait how long to wait for a key provider that does not answer
   * @param workers number of worker threads
   */
  record MountRequest(
      Path cipherDirectory,
      Path mountPoint,
      boolean acceptTornPages,
      Duration providerWait,
      int workers) {}

  /** Name of the fact of {@link #inspect} that tells one internal key from another. */
  String INTERNAL_KEY = "internal key";

  /** A mounted cluster. */
  interface Mounted {
    /** Executes key commands with the keys that the mount uses. */
    Executor executor();

    /** Completes when the mount is gone, whoever has unmounted it. */
    CompletableFuture<Void> ended();

    /**
     * Unmounts, if that was not done before, and returns after the last request.
     *
     * @throws CommandException if the mount is in use; then it goes on
     */
    void unmount() throws CommandException;
  }

  /**
   * Something that verify found.
   *
   * @param object a path in the cipher directory, with page or key
   * @param problem what is wrong with it
   */
  record Finding(String object, String problem) {}

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

  /** Makes keyring, principal key, key directory and seal. */
  void create(NewCluster cluster) throws CommandException;

  /** Opens the keys of a stopped cluster. */
  ControlClient.OpenCluster open(Path cipherDirectory) throws CommandException;

  /**
   * Mounts; returns when the mount can be used. From now on the umask of this process is 0, and
   * every file that it creates needs its mode said.
   */
  Mounted mount(MountRequest request) throws CommandException;

  /**
   * Reads all of a stopped cluster.
   *
   * @return what is wrong with it, empty if nothing
   */
  List<Finding> verify(Path cipherDirectory, Progress progress) throws CommandException;

  /**
   * Tells what a file of the cipher directory is. Needs no lock and, for what the file itself says,
   * no key.
   *
   * @return names and values in the order in which they are to be shown; never key bytes
   */
  Map<String, String> inspect(Path cipherDirectory, Path file) throws CommandException;
}
