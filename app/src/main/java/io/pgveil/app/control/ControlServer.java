package io.pgveil.app.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.UserPrincipal;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import jdk.net.ExtendedSocketOptions;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The daemon's end of the control channel: a Unix stream socket that takes one JSON object per line
 * and answers each with one line.
 *
 * <p>Only root and the owner of the cipher directory are served, by the kernel's word on who
 * connected (SO_PEERCRED); the socket belongs to that owner with mode 0600, which keeps others from
 * connecting at all.
 */
public final class ControlServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ControlServer.class);

  static final int MAX_LINE = 64 * 1024;
  private static final Duration RETRY = Duration.ofMillis(200);
  static final ObjectMapper JSON = new ObjectMapper();
  static final String SOCKET = "control";

  private final Path socket;
  private final ServerSocketChannel channel;
  private final Set<UserPrincipal> allowed;
  private final Executor executor;
  // not virtual ones: these threads sync files and hold locks that requests of the mount wait for,
  // and must never wait for a carrier
  private final ExecutorService threads =
      Executors.newThreadPerTaskExecutor(
          Thread.ofPlatform().daemon().name("control-", 1).factory());

  private ControlServer(
      Path socket, ServerSocketChannel channel, Set<UserPrincipal> allowed, Executor executor) {
    this.socket = socket;
    this.channel = channel;
    this.allowed = allowed;
    this.executor = executor;
  }

  /**
   * Listens.
   *
   * @param runDirectory directory for the socket; made if it is missing. A socket of a dead daemon
   *     is replaced: the caller holds the cluster's lock.
   * @param cipherDirectory its owner may send requests
   */
  public static ControlServer start(Path runDirectory, Path cipherDirectory, Executor executor)
      throws CommandException {
    Path socket = runDirectory.resolve(SOCKET);
    try {
      UserPrincipal owner = Files.getOwner(cipherDirectory);
      UserPrincipal root =
          runDirectory.getFileSystem().getUserPrincipalLookupService().lookupPrincipalByName("0");
      makeOwn(Objects.requireNonNull(runDirectory.getParent()), 0755);
      makeOwn(runDirectory, 0711);
      Files.deleteIfExists(socket);
      ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      try {
        channel.bind(UnixDomainSocketAddress.of(socket));
        Files.setPosixFilePermissions(socket, Modes.of(0600));
        Files.setOwner(socket, owner);
      } catch (IOException e) {
        channel.close();
        throw e;
      }
      Set<UserPrincipal> allowed = owner.equals(root) ? Set.of(root) : Set.of(root, owner);
      ControlServer server = new ControlServer(socket, channel, allowed, executor);
      Thread.ofPlatform().daemon().name("control").start(server::accept);
      return server;
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot open the control socket",
              socket,
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /**
   * Makes a directory of this process's user. One that another user has made is refused: the socket
   * in it could be exchanged while its owner is being set.
   */
  private static void makeOwn(Path directory, int mode) throws IOException {
    if (!Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
      Files.createDirectory(directory, Modes.with(mode));
      Files.setPosixFilePermissions(directory, Modes.of(mode));
    }
    Map<String, Object> found =
        Files.readAttributes(directory, "unix:isDirectory,uid", LinkOption.NOFOLLOW_LINKS);
    if (!Boolean.TRUE.equals(found.get("isDirectory"))
        || !Objects.equals(found.get("uid"), Posix.geteuid())) {
      throw new IOException(directory + " is not a directory of this user");
    }
  }

  /** Path of the socket, for the clients. */
  public Path socket() {
    return socket;
  }

  private void accept() {
    while (true) {
      try {
        hand(channel.accept());
      } catch (ClosedChannelException e) {
        LOG.debug("the control socket is closed");
        return;
      } catch (IOException | OutOfMemoryError e) {
        // no descriptor or thread to be had: those who connect wait, and are served when there is
        LOG.error("a control connection could not be taken", e);
        try {
          Thread.sleep(RETRY);
        } catch (InterruptedException interrupted) {
          return;
        }
      }
    }
  }

  private void hand(SocketChannel client) throws IOException {
    boolean handed = false;
    try {
      threads.execute(() -> serve(client));
      handed = true;
    } catch (RejectedExecutionException e) {
      LOG.debug("the daemon ends", e);
    } finally {
      if (!handed) {
        client.close();
      }
    }
  }

  private void serve(SocketChannel client) {
    try (client) {
      UserPrincipal peer = client.getOption(ExtendedSocketOptions.SO_PEERCRED).user();
      if (!allowed.contains(peer)) {
        LOG.warn("refused a request of user {}", peer);
        write(
            client,
            new Reply.Failed(
                ExitCode.NO_PERMISSION,
                "cannot use the control socket: %s: user %s is neither root nor the owner of the cipher directory"
                    .formatted(socket, peer),
                ExitCode.NO_PERMISSION.remedy()));
        return;
      }
      LineReader lines = new LineReader(client, MAX_LINE);
      String line;
      while ((line = lines.next()) != null) {
        write(client, answer(line, executor));
      }
    } catch (IOException e) {
      LOG.warn("a control connection failed: {}", CommandException.reason(e));
    }
  }

  /** Has one request executed; every line has an answer. */
  static Reply answer(String line, Executor executor) {
    try {
      Request request = JSON.readValue(line, Request.class);
      if (request == null) {
        throw new JsonMappingException(null, "null is none");
      }
      LOG.debug("{}", request);
      return executor.execute(request);
    } catch (CommandException e) {
      return Reply.Failed.of(e);
    } catch (JsonProcessingException e) {
      return new Reply.Failed(
          ExitCode.USAGE,
          "cannot understand the request: control socket: " + e.getOriginalMessage(),
          "use a pgveil of the same version as the daemon");
    } catch (RuntimeException e) {
      LOG.error("a request failed", e);
      return new Reply.Failed(
          ExitCode.INTERNAL,
          "the daemon failed: request: " + e.getClass().getName(),
          "see the daemon's log");
    }
  }

  private static void write(SocketChannel client, Reply reply) throws IOException {
    ByteBuffer out =
        ByteBuffer.wrap((JSON.writeValueAsString(reply) + "\n").getBytes(StandardCharsets.UTF_8));
    while (out.hasRemaining()) {
      client.write(out);
    }
  }

  /** Takes no more requests and waits for those that are being executed. */
  @Override
  public void close() {
    try {
      channel.close();
      Files.deleteIfExists(socket);
      Files.deleteIfExists(socket.getParent());
    } catch (IOException e) {
      LOG.warn("cannot remove the control socket {}: {}", socket, CommandException.reason(e));
    }
    threads.shutdown();
  }
}
