package io.pgveil.providers.kmip;

import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.ServerFailure;
import io.pgveil.providers.Trust;
import io.pgveil.providers.kmip.Answer.Failure;
import io.pgveil.providers.kmip.KmipSettings.Server;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;

/**
 * A connection to one server, for all requests of one call. It is not kept for the next: what has
 * come by it, keys too, is in the buffers of the JDK's TLS until they are garbage.
 *
 * <p>It ends at its time, whatever it is doing then: a thread closes the socket below TLS, which a
 * server that sends a byte now and then cannot prevent.
 */
final class KmipConnection implements AutoCloseable {
  private static final Duration CONNECT = Duration.ofSeconds(3);
  private static final Duration ALL = Duration.ofSeconds(5);

  private final Server server;
  private final Socket plain;
  private final SSLSocket socket;
  private final Thread watch;
  private volatile boolean late;

  /** Of the requests after the first ones. */
  private Version version = Version.V1_0;

  private KmipConnection(Server server, SSLContext context, long end) throws IOException {
    this.server = server;
    long now = System.nanoTime();
    long stop = now + Math.clamp(end - now, 1, ALL.toNanos());
    plain = new Socket();
    plain.connect(
        new InetSocketAddress(resolve(server.host(), stop), server.port()),
        (int) Math.clamp((stop - now) / 1_000_000, 1, CONNECT.toMillis()));
    plain.setTcpNoDelay(true);
    watch = Thread.ofVirtual().name("pgveil-kmip-watch").start(() -> endAt(stop));
    try {
      socket =
          (SSLSocket)
              context.getSocketFactory().createSocket(plain, server.host(), server.port(), true);
      SSLParameters parameters = Trust.parameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      socket.setSSLParameters(parameters);
      socket.startHandshake();
    } catch (IOException e) {
      boolean slow = late;
      watch.interrupt();
      plain.close();
      throw slow
          ? new IOException("TLS: no answer in time")
          : e instanceof SocketException
              // its alert cannot be read any more where it comes faster than we write (TLS 1.3)
              ? new SocketException(
                  "the server ended the TLS handshake (%s), as one does that refuses the client certificate"
                      .formatted(e.getMessage()))
              : e;
    }
  }

  /** Connects, and finds a version that both know. */
  static KmipConnection open(Server server, KmipSettings settings, long end)
      throws ServerFailure, ProviderException {
    SSLContext context = Trust.context(settings.authorities(), settings.client());
    KmipConnection connection;
    try {
      connection = new KmipConnection(server, context, end);
    } catch (IOException e) {
      throw ServerFailure.of("KMIP server " + server, e);
    }
    try {
      connection.version = connection.negotiate();
      return connection;
    } catch (ServerFailure | ProviderException | RuntimeException e) {
      connection.close();
      throw e;
    }
  }

  /** The JDK knows no time-out for this. */
  private static InetAddress resolve(String host, long stop) throws IOException {
    FutureTask<InetAddress> lookup = new FutureTask<>(() -> InetAddress.getByName(host));
    Thread.ofPlatform().daemon().name("pgveil-kmip-resolve").start(lookup);
    try {
      return lookup.get(stop - System.nanoTime(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new IOException("the host name is not resolved in time", e);
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private void endAt(long stop) {
    try {
      Thread.sleep(Duration.ofNanos(Math.max(0, stop - System.nanoTime())));
      late = true;
      plain.close();
    } catch (InterruptedException e) {
      // closed in time
    } catch (IOException e) {
      throw new IllegalStateException("a socket cannot be closed", e);
    }
  }

  Version version() {
    return version;
  }

  /**
   * By Discover Versions, which 1.0 does not have. It must be asked in a version that the server
   * knows, so by trial.
   */
  private Version negotiate() throws ServerFailure, ProviderException {
    for (Version v : Version.KNOWN) {
      if (!v.hasDiscovery()) {
        continue;
      }
      try (Answer answer = ask(Request.discoverVersions(), v)) {
        Failure failure = answer.failure();
        if (failure == null) {
          List<Version> common = answer.versions();
          if (common.isEmpty()) {
            throw new ProviderException(
                Code.REFUSED,
                "KMIP server %s speaks none of the versions 1.0 to 1.4 and 2.0".formatted(server));
          }
          return common.getFirst();
        }
        if (failure.reason() != Failure.INVALID_MESSAGE
            && failure.reason() != Failure.UNSUPPORTED_VERSION) {
          return Version.V1_0;
        }
      } catch (MalformedException e) {
        throw notUnderstood(Operation.DISCOVER_VERSIONS, e);
      }
    }
    return Version.V1_0;
  }

  /** The answer to a request, whatever it says; the caller closes it. */
  Answer ask(Request request) throws ServerFailure, ProviderException {
    return ask(request, version);
  }

  private Answer ask(Request request, Version version) throws ServerFailure, ProviderException {
    byte[] sent = request.encode(version, Instant.now());
    byte[] received = {};
    try {
      socket.getOutputStream().write(sent);
      received = receive(request.operation());
      Answer answer = Answer.read(received, request.operation());
      received = new byte[0];
      return answer;
    } catch (MalformedException e) {
      throw notUnderstood(request.operation(), e);
    } catch (IOException e) {
      throw late
          ? new ServerFailure(where(request.operation()) + ": no answer in time", true, e)
          : ServerFailure.of(where(request.operation()), e);
    } finally {
      Arrays.fill(sent, (byte) 0);
      Arrays.fill(received, (byte) 0);
    }
  }

  private byte[] receive(Operation operation) throws IOException {
    InputStream in = socket.getInputStream();
    byte[] head = new byte[8];
    fill(in, head, 0);
    ByteBuffer header = ByteBuffer.wrap(head);
    if (header.getInt(0) != (Tag.RESPONSE_MESSAGE << 8 | 1)) {
      throw new MalformedException("it does not begin as a response of KMIP");
    }
    int length = header.getInt(4);
    if (length < 0 || length > Request.MAX_ANSWER) {
      throw new MalformedException(
          "it has %d bytes, more than the %d that are allowed to %s"
              .formatted(length & 0xffffffffL, Request.MAX_ANSWER, operation));
    }
    byte[] message = Arrays.copyOf(head, head.length + length);
    fill(in, message, head.length);
    return message;
  }

  /** Straight into the array: a copy on the way could not be cleared. */
  private static void fill(InputStream in, byte[] bytes, int from) throws IOException {
    if (in.readNBytes(bytes, from, bytes.length - from) < bytes.length - from) {
      Arrays.fill(bytes, (byte) 0);
      throw new EOFException("the server has hung up");
    }
  }

  /** Server and request, for a message. */
  String where(Operation operation) {
    return "KMIP server " + server + ", " + operation;
  }

  /** An answer that no server of KMIP gives. */
  ProviderException notUnderstood(Operation operation, MalformedException e) {
    return new ProviderException(
        Code.INVALID_RESPONSE,
        "%s: returned what cannot be understood: %s".formatted(where(operation), e.getMessage()));
  }

  @Override
  public void close() {
    try {
      socket.close();
      plain.close();
    } catch (IOException e) {
      // it is given up in any case
    } finally {
      watch.interrupt();
    }
  }

  @Override
  public String toString() {
    return "KmipConnection[" + server + "]";
  }
}
