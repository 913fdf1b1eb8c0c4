package io.pgveil.providers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyStore;
import java.util.Base64;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/** A TLS server for what a real server cannot be made to say; one thread for each connection. */
public final class TlsServer implements AutoCloseable {
  private static final char[] PASSWORD = "changeit".toCharArray();

  private final CountDownLatch closed = new CountDownLatch(1);
  private final SSLServerSocket socket;
  private final Handler handler;

  /** Serves one connection, which is closed afterwards. */
  public interface Handler {
    void serve(InputStream in, OutputStream out) throws Exception;
  }

  /**
   * Listens.
   *
   * @param directory where {@code ca.pem} and {@code ca.key} are, or are made
   */
  public TlsServer(Path directory, Handler handler) throws Exception {
    this.handler = handler;
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store(directory), PASSWORD);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), null, null);
    socket =
        (SSLServerSocket)
            context
                .getServerSocketFactory()
                .createServerSocket(0, 10, InetAddress.getLoopbackAddress());
    Thread.ofPlatform().daemon().start(this::accept);
  }

  /** Makes {@code ca.pem} and {@code ca.key} of a directory, once. */
  public static KeyStore store(Path directory) throws Exception {
    Path file = directory.resolve("server.p12");
    if (!Files.exists(file)) {
      Process keytool =
          new ProcessBuilder(
                  ("%s -genkeypair -alias server -keyalg EC -groupname secp256r1 -dname CN=scripted"
                          + " -ext san=ip:127.0.0.1 -storepass changeit -keystore server.p12")
                      .formatted(Path.of(System.getProperty("java.home"), "bin/keytool"))
                      .split(" "))
              .directory(directory.toFile())
              .redirectErrorStream(true)
              .start();
      String output = new String(keytool.getInputStream().readAllBytes(), UTF_8);
      assertThat(keytool.waitFor()).as(output).isZero();
    }
    KeyStore store = KeyStore.getInstance(file.toFile(), PASSWORD);
    byte[] certificate = store.getCertificate("server").getEncoded();
    write(directory.resolve("ca.pem"), "CERTIFICATE", certificate, "rw-r--r--");
    byte[] key = store.getKey("server", PASSWORD).getEncoded();
    write(directory.resolve("ca.key"), "PRIVATE KEY", key, "rw-------");
    return store;
  }

  private static void write(Path file, String what, byte[] content, String mode) throws Exception {
    Files.writeString(
        file,
        "-----BEGIN %s-----\n%s\n-----END %1$s-----\n"
            .formatted(what, Base64.getMimeEncoder().encodeToString(content)));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
  }

  private void accept() {
    while (true) {
      try {
        SSLSocket connection = (SSLSocket) socket.accept();
        Thread.ofPlatform().daemon().start(() -> serve(connection));
      } catch (IOException e) {
        return;
      }
    }
  }

  private void serve(SSLSocket connection) {
    try (connection) {
      handler.serve(connection.getInputStream(), connection.getOutputStream());
    } catch (IOException e) {
      // the client has gone away
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  /** Says so little again and again that it never ends. */
  public void drip(OutputStream out) throws IOException, InterruptedException {
    do {
      out.write(' ');
      out.flush();
    } while (!closed.await(5, TimeUnit.MILLISECONDS));
  }

  public int port() {
    return socket.getLocalPort();
  }

  @Override
  public void close() {
    closed.countDown();
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
