package io.pgveil.app.storage;

import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Executor;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.metrics.Metrics;
import io.pgveil.datadir.Backing;
import io.pgveil.datadir.DataDirectory;
import io.pgveil.datadir.DataDirectoryException;
import io.pgveil.datadir.check.Inspector;
import io.pgveil.datadir.check.Report;
import io.pgveil.datadir.check.Verifier;
import io.pgveil.fuse.FuseSession;
import io.pgveil.fuse.MountException;
import io.pgveil.fuse.MountOptions;
import io.pgveil.keys.AddProvider;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.CreateKey;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.KeyFileSummary;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SetKey;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** {@link Storage} over the floors below: keys, data directory, FUSE. */
public final class EncryptedStorage implements Storage {
  private static final Logger LOG = LoggerFactory.getLogger(EncryptedStorage.class);

  private static final int VERIFY_THREADS = 2;
  private static final Duration RETRY = Duration.ofMillis(500);
  private static final Duration WATCH_END = Duration.ofSeconds(15);
  private static final Duration PROGRESS = Duration.ofSeconds(10);

  private static Path keyDirectory(Path cipherDirectory) {
    return cipherDirectory.resolve(DataDirectory.KEY_DIRECTORY);
  }

  private static CipherType cipher(int bits) {
    return bits == 256 ? CipherType.AES_256 : CipherType.AES_128;
  }

  @Override
  public void create(NewCluster cluster) throws CommandException {
    Path cipherDirectory = cluster.cipherDirectory();
    CipherType cipher = cipher(cluster.keyBits());
    Path keyDirectory = keyDirectory(cipherDirectory);
    try (KeyDirectory keys =
        KeyDirectory.create(
            keyDirectory, new KeyDirectory.Settings(List.of(cipherDirectory), cipher))) {
      boolean complete = false;
      try {
        FirstProvider first = cluster.provider();
        String options = KeyCommands.json(first.options());
        new AddProvider(Scope.SERVER, first.type(), first.name(), options).run(keys);
        new CreateKey(Scope.SERVER, first.name(), cluster.keyName(), cipher).run(keys);
        new SetKey(Scope.DEFAULT, Scope.SERVER, first.name(), cluster.keyName()).run(keys);
        complete = true;
      } catch (KeyException e) {
        throw Failures.of("cannot make the keys", e, keys);
      } finally {
        if (!complete) {
          // or the directory would be neither empty nor a cipher directory for ever
          KeyDirectory.discard(keyDirectory);
        }
      }
    } catch (KeyException e) {
      throw Failures.of("cannot make the key directory", e, null);
    }
  }

  @Override
  public ControlClient.OpenCluster open(Path cipherDirectory, boolean readOnly)
      throws CommandException {
    KeyDirectory keys = openKeys(cipherDirectory, List.of(cipherDirectory), readOnly);
    KeyCommands commands = new KeyCommands(cipherDirectory, null, keys, CipherType.AES_128);
    return new ControlClient.OpenCluster() {
      @Override
      public Reply execute(Request request) throws CommandException {
        return commands.execute(request);
      }

      @Override
      public void close() {
        keys.close();
      }
    };
  }

  private static KeyDirectory openKeys(Path cipherDirectory, List<Path> forbidden, boolean readOnly)
      throws CommandException {
    try {
      return KeyDirectory.open(
          keyDirectory(cipherDirectory),
          new KeyDirectory.Settings(forbidden, CipherType.AES_128, readOnly));
    } catch (KeyException e) {
      throw Failures.of("cannot open the key directory", e, null);
    }
  }

  /**
   * Looks at the head of every relation key file: what is damaged or of an unknown version is told
   * at the start, and not when the first file of that database is opened. Needs no principal key.
   */
  private static void checkKeyFiles(Path cipherDirectory) throws CommandException {
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(keyDirectory(cipherDirectory), "[0-9]*_keys")) {
      for (Path file : files) {
        try (InputStream in = Files.newInputStream(file)) {
          byte[] head = in.readNBytes(KeyFileSummary.HEADER_SIZE);
          if (head.length > 0) {
            KeyFileSummary.parse(file.toString(), head);
          }
        }
      }
    } catch (KeyException e) {
      throw Failures.of("cannot use the key directory", e, null);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot read the key directory",
              keyDirectory(cipherDirectory),
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /** New internal keys are as long as the principal key of the server. */
  private static CipherType cipherOf(KeyDirectory keys) throws CommandException {
    try {
      CipherType cipher = keys.principalKeys().cipher(Scope.SERVER);
      return cipher == null ? CipherType.AES_128 : cipher;
    } catch (KeyException e) {
      throw Failures.of("cannot get the principal key", e, keys);
    }
  }

  @Override
  public Mounted mount(MountRequest request) throws CommandException {
    Path cipherDirectory = request.cipherDirectory();
    KeyDirectory keys =
        openKeys(cipherDirectory, List.of(cipherDirectory, request.mountPoint()), false);
    DataDirectory dataDirectory = null;
    try {
      checkKeyFiles(cipherDirectory);
      awaitKeys(keys, request);
      CipherType cipher = cipherOf(keys);
      // the kernel has applied the caller's mask to the modes that the file system is asked for
      Posix.umask(0);
      dataDirectory =
          DataDirectory.open(
              cipherDirectory,
              keys,
              new DataDirectory.Options(
                  request.mountPoint(),
                  cipher,
                  null,
                  List.of(),
                  request.serving().acceptTornPages(),
                  new Backing()));
      List<FuseSession> sessions = new ArrayList<>();
      try {
        for (DataDirectory.ServedView view : dataDirectory.views()) {
          FuseSession session =
              FuseSession.mount(
                  view.fileSystem(),
                  MountOptions.at(view.mountPoint())
                      .fsName(cipherDirectory.toString())
                      .allowOther(Posix.geteuid() == 0)
                      .threads(request.serving().workers())
                      .build());
          sessions.add(session);
          session.start();
        }
      } catch (MountException e) {
        for (FuseSession s : sessions) {
          s.unmount();
        }
        throw e;
      }
      KeyCommands executor = new KeyCommands(cipherDirectory, request.mountPoint(), keys, cipher);
      return new MountedCluster(
          request.mountPoint(), dataDirectory, sessions, executor, watch(keys, request.serving()));
    } catch (MountException e) {
      close(dataDirectory, keys);
      throw Failures.of("cannot mount", e);
    } catch (DataDirectoryException e) {
      close(dataDirectory, keys);
      throw Failures.of("cannot serve the cipher directory", e);
    } catch (CommandException | RuntimeException e) {
      close(dataDirectory, keys);
      throw e;
    }
  }

  private static void close(@Nullable DataDirectory dataDirectory, KeyDirectory keys) {
    if (dataDirectory != null) {
      dataDirectory.close();
    }
    keys.close();
  }

  /**
   * Fetches what the start needs: the server's and the default principal key. A provider that does
   * not answer is asked again until the time is up; a missing or wrong key is no matter of time.
   */
  private static void awaitKeys(KeyDirectory keys, MountRequest request) throws CommandException {
    Duration wait = request.serving().providerWait();
    long start = System.nanoTime();
    long told = start;
    boolean waiting = false;
    while (true) {
      try {
        keys.principalKeys().load(Scope.SERVER);
        if (keys.principalKeys().info(Scope.DEFAULT) != null) {
          keys.principalKeys().load(Scope.DEFAULT);
        }
        keys.sealKeys().activeId();
        return;
      } catch (KeyException e) {
        CommandException failure = Failures.of("cannot get the principal key", e, keys);
        long now = System.nanoTime();
        if (failure.exitCode() != ExitCode.PROVIDER_UNREACHABLE || now - start > wait.toNanos()) {
          throw failure;
        }
        if (!waiting) {
          LOG.warn("{}; waiting up to {}", e.getMessage(), wait);
          waiting = true;
        } else if (now - told > PROGRESS.toNanos()) {
          LOG.warn("{}; waiting since {} s", e.getMessage(), (now - start) / 1_000_000_000);
          told = now;
        }
      }
      try {
        Thread.sleep(RETRY);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new CommandException(
            ExitCode.PROVIDER_UNREACHABLE,
            "cannot get the principal key",
            request.cipherDirectory(),
            "interrupted");
      }
    }
  }

  /** Looks, now and then, whether the providers still give the keys that are in use. */
  private static ScheduledExecutorService watch(KeyDirectory keys, Serving serving) {
    ScheduledExecutorService watch =
        Executors.newSingleThreadScheduledExecutor(
            Thread.ofPlatform().daemon().name("pgveil-key-watch").factory());
    keys.watch().refuseAfter(serving.refuseAfter());
    long millis = serving.providerCheck().toMillis();
    if (millis > 0) {
      var _ =
          watch.scheduleWithFixedDelay(
              () -> {
                try {
                  keys.watch().look();
                } catch (RuntimeException e) {
                  // a scheduled task that throws is never run again
                  LOG.error("the key providers could not be looked at", e);
                }
              },
              millis,
              millis,
              TimeUnit.MILLISECONDS);
    }
    return watch;
  }

  /** A cluster that is being served by this process. */
  private static final class MountedCluster implements Mounted {
    private final Path mountPoint;
    private final DataDirectory dataDirectory;
    private final List<FuseSession> sessions;
    private final KeyCommands executor;
    private final ScheduledExecutorService watch;
    private final CompletableFuture<Void> ended = new CompletableFuture<>();

    MountedCluster(
        Path mountPoint,
        DataDirectory dataDirectory,
        List<FuseSession> sessions,
        KeyCommands executor,
        ScheduledExecutorService watch) {
      this.watch = watch;
      this.mountPoint = mountPoint;
      this.dataDirectory = dataDirectory;
      this.sessions = sessions;
      this.executor = executor;
      Thread.ofPlatform().name("pgveil-await").daemon().start(this::awaitEnd);
    }

    private void awaitEnd() {
      try {
        for (FuseSession s : sessions) {
          s.await();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
      watch.shutdownNow();
      try {
        // one that asks a provider is interrupted; it must not look at keys that are gone
        if (!watch.awaitTermination(WATCH_END.toSeconds(), TimeUnit.SECONDS)) {
          LOG.warn("a key provider still does not answer");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      // after the last request: pending key changes, then the keys themselves
      try (KeyDirectory keys = dataDirectory.keys()) {
        dataDirectory.close();
      } catch (RuntimeException | Error e) {
        // whoever waits for the end must not wait for ever
        LOG.error("the mount {} did not end in order", mountPoint, e);
        ended.completeExceptionally(e);
        return;
      }
      ended.complete(null);
    }

    @Override
    public Executor executor() {
      return executor;
    }

    @Override
    public Supplier<String> metrics() {
      return new Metrics(
              dataDirectory.keys(),
              () -> sessions.stream().flatMap(s -> s.statistics().stream()).toList())
          ::text;
    }

    @Override
    public CompletableFuture<Void> ended() {
      return ended;
    }

    @Override
    public void unmount() throws CommandException {
      if (!ended.isDone()) {
        try {
          for (FuseSession s : sessions.reversed()) {
            s.unmount();
          }
        } catch (MountException e) {
          throw Failures.of("cannot unmount " + mountPoint, e);
        }
      }
      ended.join();
    }
  }

  @Override
  public Report verify(Path cipherDirectory, Progress progress) throws CommandException {
    try (KeyDirectory keys = openKeys(cipherDirectory, List.of(cipherDirectory), true)) {
      return new Verifier(cipherDirectory, keys, new Verifier.Options(List.of(), VERIFY_THREADS))
          .verify(progress::update);
    }
  }

  @Override
  public List<Inspector.Group> inspect(@Nullable Path cipherDirectory, Path file, int block)
      throws CommandException {
    KeyDirectory keys = null;
    Path root = cipherDirectory == null ? file.resolveSibling(".") : cipherDirectory;
    try {
      if (cipherDirectory != null) {
        keys =
            KeyDirectory.open(
                keyDirectory(cipherDirectory),
                new KeyDirectory.Settings(List.of(cipherDirectory), CipherType.AES_128, true));
      }
    } catch (KeyException e) {
      // what the file itself says needs no key
      LOG.debug("inspecting without keys: {}", e.getMessage());
    }
    try {
      return new Inspector(root, List.of(), keys).inspect(file, block);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR, "cannot inspect", file, CommandException.reason(e))
          .causedBy(e);
    } finally {
      if (keys != null) {
        keys.close();
      }
    }
  }
}
