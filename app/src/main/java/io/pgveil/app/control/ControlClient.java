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
import java.nio.file.Path;
import java.util.Optional;

/** Brings a request to where it can be executed. */
public final class ControlClient {
  /** Opens a stopped cluster, whose lock the caller holds. */
  @FunctionalInterface
  public interface Opener {
    /** The executor on the cluster of this cipher directory. */
    OpenCluster open(Path cipherDirectory) throws CommandException;
  }

  /** An executor that has to be closed. */
  public interface OpenCluster extends Executor, AutoCloseable {
    @Override
    void close();
  }

  private ControlClient() {}

  /**
   * Executes {@code request} in this process if nobody holds the lock on the cipher directory,
   * otherwise in the daemon that holds it.
   */
  public static Reply execute(Path directory, Request request, Opener opener)
      throws CommandException {
    Path cipherDirectory = CipherDirectory.requireKeys(directory, "cannot use the cluster");
    Optional<ClusterLock> free = ClusterLock.tryAcquire(cipherDirectory, "command");
    if (free.isPresent()) {
      try (ClusterLock lock = free.get();
          OpenCluster cluster = opener.open(cipherDirectory)) {
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
      reply = ControlServer.JSON.readValue(line, Reply.class);
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
}
