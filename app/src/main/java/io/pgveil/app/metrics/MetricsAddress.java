package io.pgveil.app.metrics;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Where metrics are served: {@code unix:PATH}, or a port of this machine alone. */
public record MetricsAddress(SocketAddress address) {

  /**
   * Reads an address.
   *
   * @throws IllegalArgumentException it is none, or not of this machine
   */
  public static MetricsAddress parse(String text) {
    if (text.startsWith("unix:/")) {
      return new MetricsAddress(UnixDomainSocketAddress.of(Path.of(text.substring(5)).normalize()));
    }
    int colon = text.lastIndexOf(':');
    String port = text.substring(colon + 1);
    String host = colon < 0 ? "127.0.0.1" : text.substring(0, colon);
    if (!port.matches("[0-9]{1,5}") || Integer.parseInt(port) > 65_535 || host.isEmpty()) {
      throw new IllegalArgumentException(
          "'%s' is neither unix:/PATH nor [HOST:]PORT, such as 127.0.0.1:9187".formatted(text));
    }
    InetAddress address;
    try {
      address = InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      throw new IllegalArgumentException("'%s' is no address".formatted(host), e);
    }
    if (!address.isLoopbackAddress()) {
      throw new IllegalArgumentException(
          "'%s' is not an address of this machine alone: metrics have names of keys, and are served without TLS"
              .formatted(host));
    }
    return new MetricsAddress(new InetSocketAddress(address, Integer.parseInt(port)));
  }

  StandardProtocolFamily family() {
    return switch (address) {
      case UnixDomainSocketAddress _ -> StandardProtocolFamily.UNIX;
      case InetSocketAddress i when i.getAddress().getAddress().length == 16 ->
          StandardProtocolFamily.INET6;
      default -> StandardProtocolFamily.INET;
    };
  }

  /** The socket file; null for a port. */
  public @Nullable Path file() {
    return address instanceof UnixDomainSocketAddress u ? u.getPath() : null;
  }

  @Override
  public String toString() {
    return switch (address) {
      case UnixDomainSocketAddress u -> "unix:" + u.getPath();
      case InetSocketAddress i -> "http://%s:%d/metrics".formatted(i.getHostString(), i.getPort());
      default -> address.toString();
    };
  }
}
