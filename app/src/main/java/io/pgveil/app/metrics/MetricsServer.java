package io.pgveil.app.metrics;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.UserPrincipal;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import jdk.net.ExtendedSocketOptions;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers {@code GET /metrics} with a text, one request a connection, one after another: HTTP/1.1
 * (RFC 9112) as far as those who collect metrics need it. The JDK's own server has no Unix sockets.
 */
public final class MetricsServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(MetricsServer.class);

  private static final int MAX_REQUEST = 8192;

  /** Who says nothing for so long is let go. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final Duration PAUSE = Duration.ofMillis(200);

  private final MetricsAddress address;
  private final ServerSocketChannel channel;
  private final Supplier<String> text;
  private final ScheduledExecutorService impatience =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("metrics-impatience").factory());

  private MetricsServer(
      MetricsAddress address, ServerSocketChannel channel, Supplier<String> text) {
    this.address = address;
    this.channel = channel;
    this.text = text;
  }

  /**
   * Listens. A socket file is replaced, and gets mode 0600.
   *
   * @param text in the format of Prometheus
   */
  public static MetricsServer start(MetricsAddress address, Supplier<String> text)
      throws CommandException {
    try {
      ServerSocketChannel channel = ServerSocketChannel.open(address.family());
      try {
        Path file = address.file();
        if (file != null && isSocket(file)) {
          Files.delete(file);
        }
        channel.bind(address.address());
        if (file != null) {
          Files.setPosixFilePermissions(file, Modes.of(0600));
        }
      } catch (IOException e) {
        channel.close();
        throw e;
      }
      MetricsServer server = new MetricsServer(address, channel, text);
      Thread.ofPlatform().daemon().name("metrics").start(server::run);
      LOG.info("metrics are served at {}", address);
      return server;
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.IO_ERROR,
              "cannot serve metrics",
              address.toString(),
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  private static boolean isSocket(Path file) throws IOException {
    return Files.exists(file) && ((int) Files.getAttribute(file, "unix:mode") & 0170000) == 0140000;
  }

  private void run() {
    while (true) {
      try (SocketChannel client = channel.accept()) {
        var slow =
            impatience.schedule(() -> close(client), PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        try {
          answer(client);
        } finally {
          slow.cancel(false);
        }
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        if (!channel.isOpen()) {
          return;
        }
        LOG.warn("a request for metrics failed: {}", e.toString());
        try {
          Thread.sleep(PAUSE); // there may be no descriptor or memory to be had for a while
        } catch (InterruptedException interrupted) {
          return;
        }
      }
    }
  }

  private static void close(SocketChannel client) {
    try {
      client.close();
    } catch (IOException e) {
      LOG.debug("closing a connection", e);
    }
  }

  /** The mode of the socket keeps others away, but not in the instant before it is set. */
  private boolean mayAsk(SocketChannel client) throws IOException {
    Path file = address.file();
    if (file == null) {
      return true;
    }
    UserPrincipal peer = client.getOption(ExtendedSocketOptions.SO_PEERCRED).user();
    return peer.equals(Files.getOwner(file)) || peer.getName().equals("root");
  }

  private void answer(SocketChannel client) throws IOException {
    if (!mayAsk(client)) {
      return;
    }
    ByteBuffer in = ByteBuffer.allocate(MAX_REQUEST);
    String request = "";
    while (!request.contains("\r\n\r\n")) {
      if (!in.hasRemaining() || client.read(in) < 0) {
        return;
      }
      request = new String(in.array(), 0, in.position(), UTF_8);
    }
    String[] line = request.substring(0, request.indexOf("\r\n")).split(" ");
    boolean isGet = line.length == 3 && line[0].equals("GET");
    if (isGet && line[1].matches("/metrics/?(\\?.*)?")) {
      send(client, "200 OK", "text/plain; version=0.0.4; charset=utf-8", text.get());
    } else {
      send(client, "404 Not Found", "text/plain", "ask for GET /metrics\n");
    }
  }

  private static void send(SocketChannel client, String status, String type, String body)
      throws IOException {
    byte[] bytes = body.getBytes(UTF_8);
    String head =
        "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            .formatted(status, type, bytes.length);
    ByteBuffer[] out = {ByteBuffer.wrap(head.getBytes(UTF_8)), ByteBuffer.wrap(bytes)};
    while (out[1].hasRemaining()) {
      client.write(out);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
      Path file = address.file();
      if (file != null) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      LOG.warn("cannot end serving metrics at {}: {}", address, CommandException.reason(e));
    }
    impatience.shutdownNow();
  }
}
