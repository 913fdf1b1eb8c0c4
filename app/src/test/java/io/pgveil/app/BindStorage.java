package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Executor;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import io.pgveil.app.storage.Storage;
import io.pgveil.datadir.check.Finding;
import io.pgveil.datadir.check.Inspector;
import io.pgveil.datadir.check.Report;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.LinuxException;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A storage that does not encrypt: the mount is a bind mount of {@code clear/} in the cipher
 * directory, the seal is a copy of the keyring. Everything around it is as with the real one, and
 * the demo must see the difference.
 */
final class BindStorage implements Storage {
  private static final long MS_BIND = 4096;

  @Override
  public void create(NewCluster cluster) throws CommandException {
    try {
      String key = cluster.keyName() + " " + UUID.randomUUID();
      Files.writeString(cluster.provider().keyring(), key);
      Path clear =
          Files.createDirectory(cluster.cipherDirectory().resolve("clear"), Modes.with(0700));
      for (String owner : List.of("unix:uid", "unix:gid")) {
        Files.setAttribute(clear, owner, Files.getAttribute(cluster.cipherDirectory(), owner));
      }
      Path keys = Files.createDirectory(cluster.cipherDirectory().resolve(CipherDirectory.KEYS));
      Files.writeString(
          keys.resolve(CipherDirectory.SEAL), cluster.provider().keyring() + "\n" + key);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public ControlClient.OpenCluster open(Path cipherDirectory, boolean readOnly)
      throws CommandException {
    checkKey(cipherDirectory);
    return new ControlClient.OpenCluster() {
      @Override
      public Reply execute(Request request) {
        return BindStorage.execute(cipherDirectory, request);
      }

      @Override
      public void close() {}
    };
  }

  /**
   * The file {@code pgveil.seal} of this storage: path of the keyring, and the key as it is there.
   */
  private static List<String> seal(Path cipherDirectory) {
    try {
      return Files.readAllLines(sealFile(cipherDirectory));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Path sealFile(Path cipherDirectory) {
    return cipherDirectory.resolve(CipherDirectory.KEYS).resolve(CipherDirectory.SEAL);
  }

  private static void checkKey(Path cipherDirectory) throws CommandException {
    List<String> seal = seal(cipherDirectory);
    Path keyring = Path.of(seal.get(0));
    try {
      if (!Files.readString(keyring).equals(seal.get(1))) {
        throw new CommandException(
            ExitCode.PRINCIPAL_KEY_WRONG,
            "cannot use the key",
            keyring,
            "wrong bytes: " + seal.get(1));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Reply execute(Path cipherDirectory, Request request) {
    List<String> seal = seal(cipherDirectory);
    switch (request) {
      case Request.Status status -> {
        String name = seal.get(1).substring(0, seal.get(1).indexOf(' '));
        return new Reply.Status(
            cipherDirectory.toString(),
            null,
            null,
            List.of(new Reply.ScopeKey("default", 1663, name, "file", -1, null, 5)),
            1,
            true,
            List.of(),
            List.of());
      }
      case Request.SetKey set -> {
        String key = set.key() + " " + UUID.randomUUID();
        try {
          Files.writeString(Path.of(seal.get(0)), key);
          Files.writeString(sealFile(cipherDirectory), seal.get(0) + "\n" + key);
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
        return new Reply.Done("set");
      }
      case Request.ListProviders list -> {
        return new Reply.Providers(
            List.of(new Reply.Provider(-1, "keyring", "file", Map.of("path", seal.get(0)))));
      }
      default -> {
        return new Reply.Done("done");
      }
    }
  }

  @Override
  public Mounted mount(MountRequest request) throws CommandException {
    checkKey(request.cipherDirectory());
    Path clear = request.cipherDirectory().resolve("clear");
    String target = ByteString.of(request.mountPoint());
    try {
      LinuxException.check(
          Posix.mount(ByteString.of(clear), target, "none", MS_BIND, ""), "bind mount");
    } catch (LinuxException e) {
      throw new UncheckedIOException(e);
    }
    CompletableFuture<Void> ended = new CompletableFuture<>();
    return new Mounted() {
      @Override
      public Executor executor() {
        return r -> BindStorage.execute(request.cipherDirectory(), r);
      }

      @Override
      public Supplier<String> metrics() {
        return () -> "";
      }

      @Override
      public CompletableFuture<Void> ended() {
        return ended;
      }

      @Override
      public void unmount() throws CommandException {
        int result = Posix.umount(target, 0);
        if (result < 0) {
          throw new CommandException(
              ExitCode.MOUNT_POINT_BUSY, "cannot unmount", target, Errno.describe(result));
        }
        ended.complete(null);
      }
    };
  }

  @Override
  public Report verify(Path cipherDirectory, Progress progress) {
    return new Report(
        Report.Mode.PGVEIL,
        List.of(new Finding(Finding.Severity.FINDING, "clear", "not encrypted", "")),
        0,
        Map.of(),
        List.of());
  }

  @Override
  public List<Inspector.Group> inspect(Path cipherDirectory, Path file, int block) {
    String name = String.valueOf(file.getFileName());
    return List.of(
        new Inspector.Group("internal key", List.of(new Inspector.Field(Inspector.BASE_IV, name))));
  }
}
