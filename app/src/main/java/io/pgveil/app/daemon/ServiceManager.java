package io.pgveil.app.daemon;

import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tells the service manager how far we are (sd_notify(3)): one datagram to the socket that it named
 * in NOTIFY_SOCKET. Without that variable nothing happens.
 */
public final class ServiceManager {
  private static final Logger LOG = LoggerFactory.getLogger(ServiceManager.class);

  private final @Nullable String socket;

  public ServiceManager() {
    this(System.getenv("NOTIFY_SOCKET"));
  }

  ServiceManager(@Nullable String socket) {
    this.socket = socket;
  }

  /** The mount is there and can be used. */
  public void ready(String status) {
    send("READY=1\nSTATUS=" + status);
  }

  /** The daemon has begun to end. */
  public void stopping() {
    send("STOPPING=1");
  }

  private void send(String message) {
    if (socket == null || socket.isEmpty()) {
      return;
    }
    int fd = Posix.socket(Posix.AF_UNIX, Posix.SOCK_DGRAM | Posix.SOCK_CLOEXEC, 0);
    int result = fd;
    if (fd >= 0) {
      result =
          Posix.sendDatagram(fd, ByteString.of(socket), message.getBytes(StandardCharsets.UTF_8));
      Posix.close(fd);
    }
    if (result < 0) {
      LOG.warn("cannot notify the service manager: {}: {}", socket, Errno.describe(result));
    }
  }
}
