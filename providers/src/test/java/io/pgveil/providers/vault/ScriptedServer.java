package io.pgveil.providers.vault;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import io.pgveil.providers.TlsServer;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

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
  private final TlsServer server;

  ScriptedServer(Path directory, Script... scripts) throws Exception {
    this.scripts.addAll(List.of(scripts));
    server = new TlsServer(directory, this::serve);
  }

  private void serve(InputStream in, OutputStream out) throws Exception {
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
      says(404, "{}").answer(out);
      return;
    }
    requests.add(request.toString());
    Script script = scripts.size() > 1 ? scripts.remove() : scripts.element();
    script.answer(out);
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
      server.drip(out);
    };
  }

  String url() {
    return "https://127.0.0.1:" + server.port();
  }

  /** Heads and bodies. */
  List<String> requests() {
    return List.copyOf(requests);
  }

  @Override
  public void close() {
    server.close();
  }
}
