package io.pgveil.providers.vault;

import static io.pgveil.providers.vault.ScriptedServer.hangsUp;
import static io.pgveil.providers.vault.ScriptedServer.key;
import static io.pgveil.providers.vault.ScriptedServer.says;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProviderFactory.Context;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.vault.ScriptedServer.Script;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Answers and credentials that no well-meaning server gives. */
class VaultProviderTest {
  private static final byte[] KEY = "sixteen bytes...".getBytes(UTF_8);
  private static final byte[] OTHER = "other sixteen...".getBytes(UTF_8);
  private static final KeyName NAME = KeyName.of("a key");
  private static final String TOKEN = "s.correct-horse-battery-staple";
  private static final String SEALED = "{\"errors\":[\"Vault is sealed\"]}";
  private static final String CAS =
      "{\"errors\":[\"check-and-set parameter did not match the current version\"]}";

  /** The certificate of all scripted servers. */
  @TempDir static Path certificate;

  @TempDir Path temporary;
  private Path token;
  private final List<AutoCloseable> opened = new ArrayList<>();

  @BeforeEach
  void writeToken() throws Exception {
    token = temporary.resolve("token");
    Files.writeString(token, TOKEN + "\n");
    mode(token, "rw-------");
  }

  @AfterEach
  void close() throws Exception {
    for (AutoCloseable o : opened) {
      o.close();
    }
  }

  private static void mode(Path file, String mode) throws Exception {
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
  }

  private ScriptedServer server(Script... scripts) throws Exception {
    ScriptedServer server = new ScriptedServer(certificate, scripts);
    opened.add(server);
    return server;
  }

  private Map<String, String> options(String url) {
    Map<String, String> options = new LinkedHashMap<>();
    options.put("url", url);
    options.put("mountPath", "/team a/kv/");
    options.put("tokenPath", token.toString());
    options.put("caPath", certificate.resolve("ca.pem").toString());
    return options;
  }

  private VaultProvider provider(Map<String, String> options, Duration budget)
      throws ProviderException {
    Context context = new Context(List.of(temporary.resolve("cipher"), temporary.resolve("mount")));
    VaultProvider provider = new VaultProvider(VaultSettings.of(options, context), budget);
    opened.add(provider);
    return provider;
  }

  /** With more time than any test takes. */
  private VaultProvider patient(String url) throws ProviderException {
    return provider(options(url), Duration.ofMinutes(5));
  }

  private VaultProvider hasty(String url) throws ProviderException {
    return provider(options(url), Duration.ofSeconds(3));
  }

  private static byte[] fetch(VaultProvider provider) throws ProviderException {
    Optional<KeyMaterial> found = provider.fetch(NAME);
    return found.orElseThrow().bytes();
  }

  /** The failure, which shows no secret anywhere. */
  private static ProviderException failure(ThrowingCallable call) {
    ProviderException e =
        Objects.requireNonNull(
            catchThrowableOfType(ProviderException.class, call), "nothing was thrown");
    StringWriter all = new StringWriter();
    e.printStackTrace(new PrintWriter(all));
    assertThat(all.toString()).doesNotContain(TOKEN, "3f1c", "c2l4dGVlbiBieXRlcy4uLg==");
    return e;
  }

  @Test
  void theRequestIsAsSpecified() throws Exception {
    ScriptedServer server = server(key(KEY), says(200, "{\"data\":{\"version\":1}}"));
    Map<String, String> options = options(server.url() + "/prefix/");
    options.put("namespace", "a/b");
    VaultProvider provider = provider(options, Duration.ofMinutes(1));
    assertThat(fetch(provider)).isEqualTo(KEY);
    provider.store(NAME, KEY);

    assertThat(server.requests().get(0))
        .startsWith("GET /prefix/v1/team%20a/kv/data/a%20key HTTP/1.1\r\n")
        .contains("\r\nX-Vault-Token: " + TOKEN + "\r\n", "\r\nX-Vault-Namespace: a/b\r\n");
    assertThat(server.requests().get(1))
        .startsWith("POST /prefix/v1/team%20a/kv/data/a%20key HTTP/1.1\r\n")
        .contains("\r\nContent-Type: application/json\r\n")
        .endsWith(
            "\r\n\r\n{\"options\":{\"cas\":0},\"data\":{\"key\":\"c2l4dGVlbiBieXRlcy4uLg==\"}}");
  }

  @Test
  void passingFailuresAreRepeated() throws Exception {
    ScriptedServer server =
        server(
            says(429, "{\"errors\":[\"rate limit\"]}"),
            says(503, SEALED),
            says(500, "{\"errors\":[\"local node not active but active cluster node not found\"]}"),
            says(502, "<html>"),
            hangsUp(),
            out -> out.write("HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{".getBytes(UTF_8)),
            key(KEY));
    assertThat(fetch(patient(server.url()))).isEqualTo(KEY);
    assertThat(server.requests()).hasSize(7);
  }

  @Test
  void theTimeForRepetitionsEnds() throws Exception {
    ScriptedServer sealed = server(says(503, SEALED));
    ScriptedServer dripping = server(hangsUp());
    ProviderException e = failure(() -> fetch(hasty(sealed.url() + "," + dripping.url())));
    assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
    assertThat(e)
        .hasMessageContaining(sealed.url() + " GET /v1/team%20a/kv/data/a%20key: HTTP 503")
        .hasMessageContaining("Vault is sealed")
        .hasMessageContaining(dripping.url());
  }

  @Test
  void anAnswerThatNeverEndsIsGivenUp() throws Exception {
    ScriptedServer[] dripping = new ScriptedServer[1];
    dripping[0] = server(out -> dripping[0].drips().answer(out));
    ProviderException e = failure(() -> fetch(hasty(dripping[0].url())));
    assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
    assertThat(e).hasMessageContaining("no answer in time");
  }

  @Test
  void anAnswerThatIsFarTooLongIsNotTakenIn() throws Exception {
    ScriptedServer server =
        server(says(200, "{\"data\":{\"data\":{\"x\":\"" + "x".repeat(300 << 10) + "\"}}}"));
    assertThat(failure(() -> fetch(hasty(server.url()))).code()).isEqualTo(Code.UNAVAILABLE);
  }

  @Test
  void whatIsNoAnswerOfVaultIsToldAsSuch() throws Exception {
    for (String body :
        List.of(
            "",
            "<html>",
            "[]",
            "\"x\"",
            "{\"data\":",
            "{\"data\":{\"data\":{\"key\":\"AA",
            "null",
            "[".repeat(9999),
            "{\"a\":".repeat(99))) {
      ScriptedServer server = server(says(200, body));
      ProviderException e = failure(() -> fetch(patient(server.url())));
      assertThat(e.code()).as(body).isEqualTo(Code.INVALID_RESPONSE);
      assertThat(e).hasMessageContaining("a%20key: returned incorrect JSON");
    }
    ScriptedServer lost = server(says(404, "<html>not here</html>"));
    assertThat(failure(() -> patient(lost.url()).fetch(NAME)))
        .hasMessageContaining("is the address right?");
    ScriptedServer absent = server(says(404, "{\"errors\":[]}"));
    assertThat(patient(absent.url()).fetch(NAME)).isEmpty();
  }

  @Test
  void aStandbyServerMaySendUsToTheActiveOne() throws Exception {
    ScriptedServer active = server(key(KEY));
    String path = "/v1/team%20a/kv/data/a%20key";
    ScriptedServer standby = server(says(307, "Location: " + active.url() + path, ""));
    assertThat(fetch(patient(standby.url()))).isEqualTo(KEY);

    for (String elsewhere :
        List.of("http://vault.example:8200" + path, active.url() + "/collect", "/login")) {
      ScriptedServer server = server(says(307, "Location: " + elsewhere, ""));
      assertThat(failure(() -> fetch(patient(server.url()))).code()).isEqualTo(Code.REFUSED);
    }
    assertThat(active.requests()).hasSize(1);
  }

  @Test
  void theTokenIsReadAgainWhenItIsRefused() throws Exception {
    ScriptedServer server =
        server(
            out -> {
              Files.writeString(token, "s.second");
              says(403, "{\"errors\":[\"permission denied\"]}").answer(out);
            },
            key(KEY),
            says(403, "{\"errors\":[\"permission denied\"]}"));
    VaultProvider provider = patient(server.url());
    assertThat(fetch(provider)).isEqualTo(KEY);
    assertThat(server.requests().get(1)).contains("X-Vault-Token: s.second\r\n");
    assertThat(failure(() -> fetch(provider)).code()).isEqualTo(Code.REFUSED);
    assertThat(server.requests()).as("the same token is not tried twice").hasSize(3);
  }

  @Test
  void aServerThatRepeatsTheTokenDoesNotBringItOut() throws Exception {
    ScriptedServer server =
        server(says(400, "{\"errors\":[\"bad token " + TOKEN + "\"]}"), says(503, TOKEN));
    assertThat(failure(() -> fetch(patient(server.url())))).hasMessageContaining("HTTP 400");
    assertThat(failure(() -> fetch(hasty(server.url())))).hasMessageContaining("HTTP 503");
    ScriptedServer echo =
        server(
            says(
                400,
                "{\"errors\":[\"in {\\\"options\\\":{\\\"cas\\\":0},\\\"data\\\":{\\\"key\\\":"
                    + "\\\"c2l4dGVlbiBieXRlcy4uLg==\\\"}}\"]}"));
    assertThat(failure(() -> patient(echo.url()).store(NAME, KEY)))
        .hasMessageContaining("HTTP 400");
  }

  @Test
  void aLostAnswerToAStoreIsNoConflict() throws Exception {
    ScriptedServer server = server(hangsUp(), says(400, CAS), key(KEY));
    patient(server.url()).store(NAME, KEY);
    assertThat(server.requests().get(2)).startsWith("GET ");

    ScriptedServer other = server(says(400, CAS), key(OTHER));
    ProviderException e = failure(() -> patient(other.url()).store(NAME, KEY));
    assertThat(e.code()).isEqualTo(Code.EXISTS);
  }

  @Test
  void theAddressIsRefusedUnlessItIsSafe() throws Exception {
    for (String url :
        List.of(
            "http://vault.example:8200",
            "http://127.0.0.1.example:8200",
            "http://localhost.example",
            "https://user:" + TOKEN + "@127.0.0.1",
            "https://127.0.0.1/?x=1",
            "https://127.0.0.1#x",
            "ftp://127.0.0.1",
            "127.0.0.1:8200",
            "https://",
            "https://a b",
            ",")) {
      ProviderException e = failure(() -> patient(url));
      assertThat(e.code()).as(url).isEqualTo(Code.REFUSED);
      assertThat(e).hasMessageContaining("option url");
    }
    for (String url :
        List.of(
            "http://127.0.0.1:1", "http://[::1]:1", "http://LOCALHOST", "https://a.example/x/")) {
      patient(url);
    }
    Map<String, String> allowed = options("http://Vault.example:8200");
    allowed.put("plainHttpHost", "other.example, vault.example");
    provider(allowed, Duration.ofMinutes(1));
  }

  /** Seen failing: the modes in VaultSettings.of, as of the certificates; nothing was thrown. */
  @Test
  void hazard23_aTokenFileThatIsNotSafeIsRefused() throws Exception {
    ScriptedServer server = server(key(KEY));
    Map<String, Code> contents =
        Map.of(
            "",
            Code.REFUSED,
            " \n",
            Code.REFUSED,
            "two words",
            Code.REFUSED,
            "one\nmore",
            Code.REFUSED,
            "s.\u00e4",
            Code.REFUSED,
            "x".repeat(8193),
            Code.REFUSED);
    for (Map.Entry<String, Code> content : contents.entrySet()) {
      Files.writeString(token, content.getKey());
      ProviderException e = failure(() -> fetch(patient(server.url())));
      assertThat(e.code()).isEqualTo(content.getValue());
      assertThat(e).hasMessageContaining("token file \"" + token + "\" is refused");
    }
    Files.writeString(token, TOKEN + "\nhttps://127.0.0.1:1 https://other.example");
    assertThat(failure(() -> fetch(patient(server.url()))))
        .hasMessageContaining("does not allow its token to be sent to " + server.url());
    Files.writeString(token, TOKEN);
    for (String mode : List.of("rw-r-----", "rw--w----", "rw-----w-", "rw-r--r--")) {
      mode(token, mode);
      assertThat(failure(() -> fetch(patient(server.url()))).code()).isEqualTo(Code.INSECURE);
    }
    mode(token, "rw-------");
    for (String forbidden : List.of("cipher", "mount")) {
      Path inside = Files.createDirectory(temporary.resolve(forbidden)).resolve("token");
      Files.copy(token, inside);
      Path link = Files.createSymbolicLink(temporary.resolve("link-" + forbidden), inside);
      for (Path path : List.of(inside, link)) {
        Map<String, String> options = options(server.url());
        options.put("tokenPath", path.toString());
        ProviderException e = failure(() -> fetch(provider(options, Duration.ofMinutes(1))));
        assertThat(e.code()).as(path.toString()).isEqualTo(Code.MISPLACED);
      }
    }
    Map<String, String> directory = options(server.url());
    directory.put("tokenPath", temporary.toString());
    assertThat(failure(() -> fetch(provider(directory, Duration.ofMinutes(1)))).code())
        .isEqualTo(Code.INSECURE);
    assertThat(server.requests()).isEmpty();
    Files.writeString(token, TOKEN + " https://other.example\n" + server.url() + "/\n");
    assertThat(fetch(patient(server.url()))).isEqualTo(KEY);
  }

  private static final String SECRET_ID = "3f1c\"\\-secret-id";
  private static final Script LOGIN =
      says(200, "{\"auth\":{\"client_token\":\"" + TOKEN + "\",\"lease_duration\":3600}}");
  private static final Script REFUSED = says(403, "{\"errors\":[\"permission denied\"]}");

  private Map<String, String> login(String url) throws Exception {
    Map<String, String> options = options(url);
    options.remove("tokenPath");
    for (String file : List.of("role", "secret")) {
      Path path = temporary.resolve(file);
      Files.writeString(path, file.equals("role") ? "the-role\n" : SECRET_ID + "\n");
      mode(path, file.equals("role") ? "rw-r--r--" : "rw-------");
      options.put(file + "IdPath", path.toString());
    }
    return options;
  }

  private VaultProvider withLogin(String url) throws Exception {
    return provider(login(url), Duration.ofMinutes(5));
  }

  @Test
  void aLoginGivesTheTokenOfManyRequests() throws Exception {
    ScriptedServer server = server(LOGIN, key(KEY));
    VaultProvider provider = withLogin(server.url());
    assertThat(fetch(provider)).isEqualTo(KEY);
    assertThat(fetch(provider)).isEqualTo(KEY);
    assertThat(server.requests()).hasSize(3);
    assertThat(server.requests().get(0))
        .startsWith("POST /v1/auth/approle/login HTTP/1.1\r\n")
        .doesNotContain("X-Vault-Token")
        .endsWith("\r\n\r\n{\"role_id\":\"the-role\",\"secret_id\":\"3f1c\\\"\\\\-secret-id\"}");
    assertThat(server.requests().get(2)).contains("\r\nX-Vault-Token: " + TOKEN + "\r\n");
  }

  @Test
  void aTokenOfALoginThatIsRefusedIsReplacedOnce() throws Exception {
    Map<String, String> options = login("https://127.0.0.1:1");
    options.put("approlePath", "/team a/role/");
    ScriptedServer server = server(LOGIN, key(KEY), REFUSED, says(503, SEALED), LOGIN, key(KEY));
    options.put("url", server.url());
    VaultProvider provider = provider(options, Duration.ofMinutes(5));
    assertThat(fetch(provider)).isEqualTo(KEY);
    assertThat(fetch(provider)).isEqualTo(KEY);
    assertThat(server.requests().stream().map(r -> r.substring(0, r.indexOf(" HTTP"))))
        .containsExactly(
            "POST /v1/auth/team%20a/role/login",
            "GET /v1/team%20a/kv/data/a%20key",
            "GET /v1/team%20a/kv/data/a%20key",
            "POST /v1/auth/team%20a/role/login",
            "POST /v1/auth/team%20a/role/login",
            "GET /v1/team%20a/kv/data/a%20key");

    ScriptedServer forbidding = server(LOGIN, REFUSED, LOGIN, REFUSED);
    assertThat(failure(() -> fetch(withLogin(forbidding.url()))).code()).isEqualTo(Code.REFUSED);
    assertThat(forbidding.requests()).hasSize(4);
  }

  @Test
  void aLoginThatFailsSaysWhyAndNoSecret() throws Exception {
    for (String body :
        List.of(
            "{}",
            "{\"auth\":{\"client_token\":null}}",
            "{\"auth\":{\"client_token\":\"\"}}",
            "{\"auth\":{\"client_token\":\"a\\r\\nb\"}}",
            "{\"auth\":{\"client_token\":\"" + "x".repeat(8193) + "\"}}",
            "<html>")) {
      ScriptedServer server = server(says(200, body));
      ProviderException e = failure(() -> fetch(withLogin(server.url())));
      assertThat(e.code()).as(body).isEqualTo(Code.INVALID_RESPONSE);
      assertThat(e).hasMessageContaining("POST /v1/auth/approle/login: returned");
    }
    ScriptedServer echo =
        server(says(400, "{\"errors\":[\"no such id: 3f1c\\\"\\\\-secret-id\"]}"));
    ProviderException e = failure(() -> fetch(withLogin(echo.url())));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e)
        .hasMessageContaining("/v1/auth/approle/login: HTTP 400; the role id, the secret id or")
        .hasMessageNotContaining("3f1c");
  }

  @Test
  void aTokenFileAndALoginExcludeEachOther() throws Exception {
    for (String option : List.of("roleIdPath", "secretIdPath", "approlePath")) {
      Map<String, String> options = options("https://127.0.0.1:1");
      options.put(option, "/x");
      assertThat(failure(() -> provider(options, Duration.ofMinutes(1))))
          .hasMessageContaining("option tokenPath")
          .hasMessageContaining("roleIdPath and secretIdPath for a login, not both");
    }
    VaultProviderFactory factory = new VaultProviderFactory();
    assertThat(factory.requiredOptions(Map.of("secretIdPath", "/x")))
        .contains("roleIdPath", "secretIdPath")
        .doesNotContain("tokenPath");
    assertThat(factory.requiredOptions(Map.of())).contains("tokenPath");
  }

  /** Seen failing: {@code SECRET} as {@code TRUSTED} in VaultSettings; nothing was thrown. */
  @Test
  void hazard23_aSecretIdFileThatIsNotSafeIsRefused() throws Exception {
    ScriptedServer server = server(LOGIN, key(KEY));
    Map<String, String> options = login(server.url());
    Path secret = temporary.resolve("secret");
    for (String mode : List.of("rw-r-----", "rw--w----", "rw-r--r--")) {
      mode(secret, mode);
      ProviderException e = failure(() -> fetch(provider(options, Duration.ofMinutes(1))));
      assertThat(e.code()).isEqualTo(Code.INSECURE);
      assertThat(e).hasMessageContaining("secret id file \"" + secret + "\" is refused");
    }
    mode(secret, "rw-------");
    Path role = temporary.resolve("role");
    mode(role, "rw-rw-r--");
    assertThat(failure(() -> fetch(provider(options, Duration.ofMinutes(1)))).code())
        .isEqualTo(Code.INSECURE);
    mode(role, "rw-r--r--");
    Files.writeString(secret, SECRET_ID + "\nhttps://other.example\n");
    assertThat(failure(() -> fetch(provider(options, Duration.ofMinutes(1)))))
        .hasMessageContaining("does not allow its secret id to be sent to " + server.url());
    Path inside = Files.createDirectory(temporary.resolve("cipher")).resolve("secret");
    Files.copy(secret, inside);
    options.put("secretIdPath", inside.toString());
    assertThat(failure(() -> fetch(provider(options, Duration.ofMinutes(1)))).code())
        .isEqualTo(Code.MISPLACED);
    assertThat(server.requests()).isEmpty();
  }

  @Test
  void certificatesThatOthersCanReplaceAreRefused() throws Exception {
    ScriptedServer server = server(key(KEY));
    Path pem = temporary.resolve("ca.pem");
    Files.copy(certificate.resolve("ca.pem"), pem);
    Map<String, String> options = options(server.url());
    options.put("caPath", pem.toString());
    mode(pem, "rw-rw-r--");
    assertThat(failure(() -> fetch(provider(options, Duration.ofMinutes(1)))).code())
        .isEqualTo(Code.INSECURE);
    mode(pem, "rw-r--r--");
    assertThat(fetch(provider(options, Duration.ofMinutes(1)))).isEqualTo(KEY);
    Files.writeString(pem, "no certificate");
    assertThat(failure(() -> fetch(provider(options, Duration.ofMinutes(1)))))
        .hasMessageContaining("certificate file \"" + pem + "\" is refused");
  }
}
