package io.pgveil.providers.vault;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
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
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/**
 * A TLS server that answers each request by the next of its scripts, and the last one for ever: for
 * what a real server cannot be made to say.
 */
final class ScriptedServer implements AutoCloseable {
  private static final Pattern LENGTH =
      Pattern.compile("content-length: (\\d+)", Pattern.CASE_INSENSITIVE);

  /** Answers one request. */
  interface Script {
    void answer(OutputStream out) throws Exception;
  }

  private final LinkedBlockingQueue<Script> scripts = new LinkedBlockingQueue<>();
  private final List<String> requests = new CopyOnWriteArrayList<>();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final SSLServerSocket socket;

  ScriptedServer(Path directory, Script... scripts) throws Exception {
    this.scripts.addAll(List.of(scripts));
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store(directory), "changeit".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), null, null);
    socket =
        (SSLServerSocket)
            context
                .getServerSocketFactory()
                .createServerSocket(0, 10, InetAddress.getLoopbackAddress());
    Thread.ofPlatform().daemon().start(this::accept);
  }

  /** Makes certificate and {@code ca.pem} of a directory, once. */
  private static KeyStore store(Path directory) throws Exception {
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
    KeyStore store = KeyStore.getInstance(file.toFile(), "changeit".toCharArray());
    Path pem = directory.resolve("ca.pem");
    Files.writeString(
        pem,
        "-----BEGIN CERTIFICATE-----\n"
            + Base64.getMimeEncoder().encodeToString(store.getCertificate("server").getEncoded())
            + "\n-----END CERTIFICATE-----\n");
    Files.setPosixFilePermissions(pem, PosixFilePermissions.fromString("rw-r--r--"));
    return store;
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
      InputStream in = connection.getInputStream();
      StringBuilder request = new StringBuilder();
      while (request.indexOf("\r\n\r\n") < 0) {
        int b = in.read();
        if (b < 0) {
          return;
        }
        request.append((char) b);
      }
      Matcher length = LENGTH.matcher(request);
      if (length.find()) {
        request.append(new String(in.readNBytes(Integer.parseInt(length.group(1))), ISO_8859_1));
      }
      if (request.indexOf("/auth/token/") > 0) {
        // the renewal comes when it likes
        says(404, "{}").answer(connection.getOutputStream());
        return;
      }
      requests.add(request.toString());
      Script script = scripts.size() > 1 ? scripts.remove() : scripts.element();
      script.answer(connection.getOutputStream());
    } catch (IOException e) {
      // the client has gone away
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  /** An HTTP answer. */
  static Script says(int status, String body) {
    return out -> out.write(http(status, "", body));
  }

  static Script says(int status, String header, String body) {
    return out -> out.write(http(status, header + "\r\n", body));
  }

  private static byte[] http(int status, String headers, String body) {
    return "HTTP/1.1 %d X\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s"
        .formatted(status, headers, body.getBytes(UTF_8).length, body)
        .getBytes(UTF_8);
  }

  static Script key(byte[] key) {
    return says(
        200, "{\"data\":{\"data\":{\"key\":\"" + Base64.getEncoder().encodeToString(key) + "\"}}}");
  }

  /** Closes the connection without a word. */
  static Script hangsUp() {
    return out -> {};
  }

  /** The head of an answer, then so little that it never ends. */
  Script drips() {
    return out -> {
      out.write("HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n{".getBytes(UTF_8));
      do {
        out.write(' ');
        out.flush();
      } while (!closed.await(5, TimeUnit.MILLISECONDS));
    };
  }

  String url() {
    return "https://127.0.0.1:" + socket.getLocalPort();
  }

  /** Heads and bodies. */
  List<String> requests() {
    return List.copyOf(requests);
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
