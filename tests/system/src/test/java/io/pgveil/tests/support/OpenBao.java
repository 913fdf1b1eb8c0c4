package io.pgveil.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * A real OpenBao server with TLS, set up as docs/providers/vault-v2.md says: certificates,
 * configuration and policy are taken from that document. Its files are in one directory, which
 * survives {@link #stop}.
 */
public final class OpenBao implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int PATIENCE_SECONDS = 60;

  /** What a server says. */
  public record Answer(int status, JsonNode body) {
    /** A text at a JSON pointer. */
    public String text(String pointer) {
      return body.at(pointer).asText();
    }
  }

  private final String program;
  private final Path directory;
  private int port;
  private final HttpClient client;
  private Process process;
  private String rootToken = "";
  private String unsealKey = "";

  private OpenBao(String program, Path directory, int port) throws Exception {
    this.program = program;
    this.directory = directory;
    this.port = port;
    Files.createDirectory(directory.resolve("data"));
    Peers.shell(directory, block("sh", 0));
    Files.writeString(
        directory.resolve("server.hcl"),
        block("hcl", 0).replace("8200", "" + port).replace("8201", "" + Peers.freePort())
            + "audit \"file\" \"all\" {\n  options = { file_path = \"audit.log\" }\n}\n");
    client = HttpClient.newBuilder().sslContext(trusting(authorities())).build();
    process = run();
  }

  /**
   * A server that is ready, with an engine at {@code secret/}; skips the test if it cannot be had.
   *
   * @param directory an empty one, for its files
   */
  public static OpenBao start(Path directory) throws Exception {
    String program = Peers.install("openbao");
    OpenBao server = new OpenBao(program, directory, Peers.freePort());
    try {
      server.await(501);
      Answer keys =
          server.ask("PUT", "sys/init", "", "{\"secret_shares\":1,\"secret_threshold\":1}");
      server.rootToken = keys.text("/root_token");
      server.unsealKey = keys.text("/keys_base64/0");
      server.unseal();
      server.mount("secret", "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}");
      server.policy("pgveil", policy());
      return server;
    } catch (Exception | AssertionError e) {
      server.close();
      throw e;
    }
  }

  private Process run() throws IOException {
    return new ProcessBuilder(program, "server", "-config=server.hcl")
        .directory(directory.toFile())
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
        .start();
  }

  private static String block(String language, int n) throws IOException {
    return Peers.block("vault-v2.md", language, n);
  }

  /** The policy that the document gives. */
  public static String policy() throws IOException {
    return block("hcl", 1);
  }

  private static SSLContext trusting(Path authorities) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    try (InputStream in = Files.newInputStream(authorities)) {
      store.setCertificateEntry(
          "ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }

  /** One request of a test, at {@code /v1/PATH}. */
  public Answer ask(String method, String path, String token, String body) throws Exception {
    return ask(method, path, token, "", body);
  }

  /** In a namespace; empty for the root one. */
  public Answer ask(String method, String path, String token, String namespace, String body)
      throws Exception {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(url() + "/v1/" + path))
            .method(
                method, body.isEmpty() ? BodyPublishers.noBody() : BodyPublishers.ofString(body));
    if (!token.isEmpty()) {
      request.header("X-Vault-Token", token);
    }
    if (!namespace.isEmpty()) {
      request.header("X-Vault-Namespace", namespace);
    }
    HttpResponse<String> response = client.send(request.build(), BodyHandlers.ofString());
    return new Answer(response.statusCode(), JSON.readTree(response.body()));
  }

  /** With the root token; must succeed. */
  public Answer root(String method, String path, String body) throws Exception {
    Answer answer = ask(method, path, rootToken, body);
    assertThat(answer.status()).as("%s %s: %s", method, path, answer.body()).isBetween(200, 299);
    return answer;
  }

  /** Waits until the health check says so: 501 not initialised, 503 sealed, 200 ready. */
  private void await(int health) throws Exception {
    TestCluster.await("health " + health + ", see " + log(), () -> hasHealth(health));
  }

  private boolean hasHealth(int health) throws Exception {
    try {
      return ask("GET", "sys/health", "", "").status() == health;
    } catch (IOException e) {
      assertThat(process.isAlive()).as(Files.readString(log())).isTrue();
      return false;
    }
  }

  public void unseal() throws Exception {
    ask("PUT", "sys/unseal", "", JSON.writeValueAsString(Map.of("key", unsealKey)));
    await(200);
  }

  public void seal() throws Exception {
    root("PUT", "sys/seal", "");
    await(503);
  }

  public void stop() throws Exception {
    process.destroy();
    assertThat(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)).isTrue();
  }

  /** After {@link #stop}; it is sealed then. */
  public void startAgain() throws Exception {
    process = run();
    await(503);
  }

  /** As {@link #startAgain}, at another address. */
  public void moveAndStartAgain() throws Exception {
    Path configuration = directory.resolve("server.hcl");
    int next = Peers.freePort();
    Files.writeString(
        configuration, Files.readString(configuration).replace(":" + port, ":" + next));
    port = next;
    startAgain();
  }

  /** Makes an engine that is ready. */
  public void mount(String path, String definition) throws Exception {
    root("POST", "sys/mounts/" + path, definition);
    // a new engine of version 2 says for a moment that it is being upgraded
    TestCluster.await(
        "the engine is ready", () -> ask("GET", path + "/data/any", rootToken, "").status() != 400);
  }

  public void policy(String name, String hcl) throws Exception {
    root("PUT", "sys/policies/acl/" + name, JSON.writeValueAsString(Map.of("policy", hcl)));
  }

  /** A token that is allowed what the document says, and nothing else. */
  public String token() throws Exception {
    return token("{\"policies\":[\"pgveil\"],\"no_default_policy\":true,\"period\":\"768h\"}");
  }

  public String token(String definition) throws Exception {
    return root("POST", "auth/token/create-orphan", definition).text("/auth/client_token");
  }

  /**
   * Makes an AppRole whose tokens may do what the document says.
   *
   * @param definition more fields of the role, such as the time that its tokens live
   */
  public void appRole(String mount, String definition) throws Exception {
    root("POST", "sys/auth/" + mount, "{\"type\":\"approle\"}");
    root(
        "POST",
        "auth/" + mount + "/role/pgveil",
        "{\"token_policies\":[\"pgveil\"],\"token_no_default_policy\":true" + definition + "}");
  }

  public String roleId(String mount) throws Exception {
    return root("GET", "auth/" + mount + "/role/pgveil/role-id", "").text("/data/role_id");
  }

  /** A secret id for that many logins. */
  public String secretId(String mount, int logins) throws Exception {
    String uses = "{\"num_uses\":" + logins + "}";
    return root("POST", "auth/" + mount + "/role/pgveil/secret-id", uses).text("/data/secret_id");
  }

  /** How many logins of a secret id are left. */
  public int loginsLeft(String mount, String secretId) throws Exception {
    String id = "{\"secret_id\":\"" + secretId + "\"}";
    return root("POST", "auth/" + mount + "/role/pgveil/secret-id/lookup", id)
        .body()
        .at("/data/secret_id_num_uses")
        .asInt();
  }

  /**
   * How often something was done with success, by the server's audit log.
   *
   * @param operation {@code read} or {@code update}
   */
  public long count(String operation, String path) throws IOException {
    try (Stream<String> lines = Files.lines(directory.resolve("audit.log"))) {
      return lines
          .filter(l -> l.contains("\"type\":\"response\"") && !l.contains("\"error\":"))
          .filter(l -> l.contains("\"operation\":\"" + operation + "\""))
          .filter(l -> l.contains("\"path\":\"" + path + "\""))
          .count();
    }
  }

  public String rootToken() {
    return rootToken;
  }

  public String url() {
    return "https://127.0.0.1:" + port;
  }

  public Path authorities() {
    return directory.resolve("ca.pem");
  }

  public Path log() {
    return directory.resolve("server.log");
  }

  /** Replaces a token file at one instant. */
  public static Path write(Path file, String token) throws IOException {
    Path next = file.resolveSibling(file.getFileName() + ".next");
    Files.deleteIfExists(next);
    Files.createFile(
        next, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(next, token + "\n");
    return Files.move(
        next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Arguments for {@code up} and {@code init}. */
  public List<String> firstProvider(Path token) {
    List<String> arguments = new ArrayList<>(List.of("--provider", "vault-v2"));
    options(token).forEach(o -> arguments.addAll(List.of("--option", o)));
    return arguments;
  }

  /** Arguments for {@code provider add} and {@code provider change}. */
  public Stream<String> options(Path token) {
    return Stream.of(
        "url=" + url(), "mountPath=secret", "tokenPath=" + token, "caPath=" + authorities());
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
