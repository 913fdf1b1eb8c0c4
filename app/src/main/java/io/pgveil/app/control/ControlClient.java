package io.pgveil.app.control;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Optional;

/** Brings a request to where it can be executed. */
public final class ControlClient {
  /** Opens a cluster that no daemon serves. */
  @FunctionalInterface
  public interface Opener {
    /**
     * The executor on the cluster of this cipher directory.
     *
     * @param readOnly no file is changed; otherwise the caller holds the lock
     */
    OpenCluster open(Path cipherDirectory, boolean readOnly) throws CommandException;
  }

  /** An executor that has to be closed. */
  public interface OpenCluster extends Executor, AutoCloseable {
    @Override
    void close();
  }

  private ControlClient() {}

  /**
   * Executes {@code request} in this process if nobody holds the lock on the cipher directory,
   * otherwise in the daemon that holds it. On a cluster of pg_tde, whose server knows no lock of
   * ours, see {@link #executeForeign}.
   */
  public static Reply execute(Path directory, Request request, Opener opener)
      throws CommandException {
    boolean foreign = CipherDirectory.kind(directory) == CipherDirectory.Kind.PG_TDE;
    Path cipherDirectory = CipherDirectory.requireKeys(directory, "cannot use the cluster");
    if (foreign) {
      return executeForeign(cipherDirectory, request, opener);
    }
    Optional<ClusterLock> free = ClusterLock.tryAcquire(cipherDirectory, "command");
    if (free.isPresent()) {
      try (ClusterLock lock = free.get();
          OpenCluster cluster = opener.open(cipherDirectory, false)) {
        return cluster.execute(request);
      }
    }
    ClusterLock.Holder holder =
        ClusterLock.holder(cipherDirectory)
            .orElseThrow(
                () ->
                    new CommandException(
                        ExitCode.ALREADY_SERVED,
                        "cannot use the cluster",
                        cipherDirectory,
                        "another pgveil process has just ended"));
    if (holder.socket() == null) {
      throw new CommandException(
          ExitCode.ALREADY_SERVED,
          "cannot use the cluster",
          cipherDirectory,
          "process %d (pgveil %s) works on it".formatted(holder.pid(), holder.command()));
    }
    return send(Path.of(holder.socket()), request);
  }

  /**
   * Executes {@code request} on a cluster of pg_tde. Its server may be at work: then a temporary
   * file is half of a rotation and not what a crash has left. So who only looks writes nothing, not
   * even a lock file, and changes wait until the server is stopped.
   */
  private static Reply executeForeign(Path dataDirectory, Request request, Opener opener)
      throws CommandException {
    if (request.changesNothing()) {
      try (OpenCluster cluster = opener.open(dataDirectory, true)) {
        return cluster.execute(request);
      }
    }
    requireStopped(dataDirectory);
    try (ClusterLock lock = ClusterLock.acquire(dataDirectory, "command");
        OpenCluster cluster = opener.open(dataDirectory, false)) {
      return cluster.execute(request);
    }
  }

  private static void requireStopped(Path dataDirectory) throws CommandException {
    Path pidFile = dataDirectory.resolve("postmaster.pid");
    if (Files.exists(pidFile, LinkOption.NOFOLLOW_LINKS)) {
      throw new CommandException(
          ExitCode.KEY_REFUSED,
          "cannot change keys or providers of a cluster of pg_tde: %s: it exists: the server runs, or has crashed"
              .formatted(pidFile),
          "stop the server; after a crash, start it and stop it; nothing was changed");
    }
  }

  /** Sends one request to a daemon. */
  static Reply send(Path socket, Request request) throws CommandException {
    Reply reply;
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(socket));
      String json = ControlServer.JSON.writerFor(Request.class).writeValueAsString(request);
      ByteBuffer out = ByteBuffer.wrap((json + "\n").getBytes(StandardCharsets.UTF_8));
      while (out.hasRemaining()) {
        channel.write(out);
      }
      String line = new LineReader(channel, Integer.MAX_VALUE).next();
      if (line == null) {
        throw new IOException("it closed the connection");
      }
      reply = parse(line);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.DAEMON_UNREACHABLE,
              "cannot reach the daemon",
              socket,
              CommandException.reason(e))
          .causedBy(e);
    }
    if (reply instanceof Reply.Failed failed) {
      throw failed.toException();
    }
    return reply;
  }

  /** Reads an answer; the other end may be anything. */
  static Reply parse(String line) throws IOException {
    Reply reply = ControlServer.JSON.readValue(line, Reply.class);
    if (reply == null) {
      throw new IOException("its answer is null");
    }
    return reply;
  }
}
