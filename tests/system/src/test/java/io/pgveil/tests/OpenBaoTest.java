package io.pgveil.tests;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.KeyProviderFactory;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.tests.support.OpenBao;
import io.pgveil.tests.support.TestCluster;
import java.net.URLEncoder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The provider {@code vault-v2} and a real OpenBao. */
@Tag("system")
class OpenBaoTest {
  @TempDir static Path shared;
  private static OpenBao server;

  @TempDir Path temporary;
  private Path token;
  private final List<KeyProvider> opened = new ArrayList<>();

  @BeforeAll
  static void startServer() throws Exception {
    server = OpenBao.start(shared);
  }

  @AfterAll
  static void stopServer() {
    if (server != null) {
      server.close();
    }
  }

  @BeforeEach
  void writeToken() throws Exception {
    token = OpenBao.write(temporary.resolve("token"), server.token());
  }

  @AfterEach
  void close() {
    opened.forEach(KeyProvider::close);
  }

  private static KeyProviderFactory factory() {
    return KeyProviderFactory.installed().stream()
        .filter(f -> f.typeName().equals("vault-v2"))
        .findFirst()
        .orElseThrow();
  }

  private KeyProviderFactory.Context context() {
    return new KeyProviderFactory.Context(
        List.of(temporary.resolve("cipher"), temporary.resolve("mount")));
  }

  private Map<String, String> options(String... more) {
    Map<String, String> options = new TreeMap<>();
    server
        .options(token)
        .forEach(o -> options.put(o.substring(0, o.indexOf('=')), o.substring(o.indexOf('=') + 1)));
    for (int i = 0; i < more.length; i += 2) {
      options.put(more[i], more[i + 1]);
    }
    return options;
  }

  private KeyProvider.Storing provider(String... more) throws ProviderException {
    KeyProvider provider = factory().open(options(more), context());
    opened.add(provider);
    return (KeyProvider.Storing) provider;
  }

  private void validate(String... more) throws ProviderException {
    factory().validate(options(more), context());
  }

  private static byte[] fetch(KeyProvider.Storing provider, String name) throws Exception {
    Optional<KeyMaterial> found = provider.fetch(KeyName.of(name));
    return found.isEmpty() ? new byte[0] : found.get().bytes();
  }

  private static ProviderException failure(ThrowingCallable call) {
    return Objects.requireNonNull(
        catchThrowableOfType(ProviderException.class, call), "nothing was thrown");
  }

  private static byte[] key(String text) {
    return text.getBytes(UTF_8);
  }

  private static final String KEY_16 = "sixteen bytes...";
  private static final String KEY_32 = "thirty-two bytes, as for AES-256";

  @Test
  void keysAreKeptAsPgTdeKeepsThem() throws Exception {
    KeyProvider.Storing provider = provider();
    validate();
    assertThat(provider.fetch(KeyName.of("a"))).isEmpty();

    provider.store(KeyName.of("a"), key(KEY_16));
    provider.store(KeyName.of("b"), key(KEY_32));

    OpenBao.Answer stored = server.root("GET", "secret/data/a", "");
    assertThat(stored.body().at("/data/data").properties()).hasSize(1);
    assertThat(stored.text("/data/data/key"))
        .isEqualTo(Base64.getEncoder().encodeToString(key(KEY_16)));
    assertThat(fetch(provider(), "b")).isEqualTo(key(KEY_32));
    // as pg_tde stores, without check-and-set and with whatever else is there
    server.root(
        "POST",
        "secret/data/theirs",
        "{\"data\":{\"note\":\"x\",\"key\":\"%s\"}}"
            .formatted(Base64.getEncoder().encodeToString(key(KEY_16))));
    assertThat(fetch(provider, "theirs")).isEqualTo(key(KEY_16));
  }

  @Test
  void oddNamesAreOneSecretEach() throws Exception {
    KeyProvider.Storing provider = provider();
    List<String> names =
        List.of(
            "odd name",
            "odd?list=true",
            "odd#x",
            "odd%2Fx",
            "odd/x",
            "odd+x&y=z",
            "ödd\u20ac",
            "odd\"\\'x",
            "odd:;,@!$()*[]",
            "ODD NAME",
            "~odd",
            "x".repeat(255));
    for (String name : names) {
      provider.store(KeyName.of(name), key(KEY_16));
      assertThat(fetch(provider, name)).as(name).isEqualTo(key(KEY_16));
      String path = URLEncoder.encode(name, UTF_8).replace("+", "%20").replace("%2F", "/");
      assertThat(server.root("GET", "secret/data/" + path, "").text("/data/metadata/version"))
          .as(name)
          .isEqualTo("1");
    }
    for (String name : List.of("..", "a/../b", "a//b", "/a", "a/", ".")) {
      ProviderException e = failure(() -> provider.store(KeyName.of(name), key(KEY_16)));
      assertThat(e.code()).isEqualTo(Code.REFUSED);
      assertThat(e).hasMessageContaining("key name \"" + name + "\" is refused");
    }
  }

  @Test
  void ofTwoNodesThatMakeTheSameKeyOneSucceeds() throws Exception {
    // this token could overwrite: check-and-set alone forbids it
    server.policy(
        "writer", "path \"secret/data/*\" { capabilities=[\"create\",\"update\",\"read\"] }");
    Path writer =
        OpenBao.write(temporary.resolve("writer"), server.token("{\"policies\":[\"writer\"]}"));
    for (Path file : List.of(token, writer)) {
      String name = "race-" + file.getFileName();
      CyclicBarrier start = new CyclicBarrier(2);
      List<Future<String>> both = new ArrayList<>();
      try (ExecutorService nodes = Executors.newFixedThreadPool(2)) {
        for (String key : List.of(KEY_16, KEY_32)) {
          KeyProvider.Storing node = provider("tokenPath", file.toString());
          Callable<String> store =
              () -> {
                start.await();
                node.store(KeyName.of(name), key(key));
                return key;
              };
          both.add(nodes.submit(store));
        }
      }
      List<String> stored = new ArrayList<>();
      for (Future<String> node : both) {
        try {
          stored.add(node.get());
        } catch (ExecutionException e) {
          assertThat(((ProviderException) e.getCause()).code()).isEqualTo(Code.EXISTS);
          assertThat(e.getCause()).hasMessageContaining("secret/data/" + name);
        }
      }
      assertThat(stored).as(name).hasSize(1);
      assertThat(fetch(provider(), name)).isEqualTo(key(stored.getFirst()));
      assertThat(server.root("GET", "secret/data/" + name, "").text("/data/metadata/version"))
          .isEqualTo("1");
    }
  }

  @Test
  void aDeletedKeyIsNotReplaced() throws Exception {
    provider().store(KeyName.of("gone"), key(KEY_16));
    server.root("DELETE", "secret/data/gone", "");
    assertThat(provider().fetch(KeyName.of("gone"))).isEmpty();
    server.policy(
        "deleted", "path \"secret/data/*\" { capabilities=[\"create\",\"update\",\"read\"] }");
    Path writer =
        OpenBao.write(temporary.resolve("writer"), server.token("{\"policies\":[\"deleted\"]}"));
    ProviderException e =
        failure(
            () -> provider("tokenPath", writer.toString()).store(KeyName.of("gone"), key(KEY_32)));
    assertThat(e.code()).isEqualTo(Code.EXISTS);
    assertThat(e).hasMessageContaining("undeleted");
  }

  @Test
  void aNamespaceIsAWorldOfItsOwn() throws Exception {
    server.root("POST", "sys/namespaces/team", "");
    String root = server.rootToken();
    assertThat(
            server
                .ask(
                    "POST",
                    "sys/mounts/secret",
                    root,
                    "team",
                    "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}")
                .status())
        .isEqualTo(204);
    Path file = OpenBao.write(temporary.resolve("root"), root);
    String[] team = {"namespace", "team", "tokenPath", file.toString()};
    validate(team);
    provider(team).store(KeyName.of("in-team"), key(KEY_16));
    assertThat(fetch(provider(team), "in-team")).isEqualTo(key(KEY_16));
    assertThat(provider().fetch(KeyName.of("in-team"))).isEmpty();
    ProviderException e =
        failure(
            () ->
                provider("namespace", "nobody", "tokenPath", file.toString())
                    .fetch(KeyName.of("in-team")));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e).hasMessageContaining("HTTP 404").hasMessageContaining("namespace");
  }

  @Test
  void aMountOfAnotherKindIsRefused() throws Exception {
    server.mount("old", "{\"type\":\"kv\",\"options\":{\"version\":\"1\"}}");
    server.mount("transit", "{\"type\":\"transit\"}");
    server.policy("looker", "path \"sys/mounts/*\" { capabilities=[\"read\"] }");
    server.policy("user", "path \"old/*\" { capabilities=[\"read\"] }");
    for (String policy : List.of("looker", "user")) {
      OpenBao.write(token, server.token("{\"policies\":[\"%s\"]}".formatted(policy)));
      assertThat(failure(() -> validate("mountPath", "old")))
          .as(policy)
          .hasMessageContaining("has unsupported Key/Value engine version \"1\"");
    }
    OpenBao.write(token, server.token("{\"policies\":[\"looker\"]}"));
    assertThat(failure(() -> validate("mountPath", "transit")))
        .hasMessageContaining("has unsupported engine type \"transit\"");
    assertThat(failure(() -> validate("mountPath", "nothing")))
        .hasMessageContaining("No secret engine mount");
    // may look at nothing: what is wrong shows at use
    OpenBao.write(token, server.token("{\"policies\":[\"nothing\"],\"no_default_policy\":true}"));
    validate();
    ProviderException e = failure(() -> provider().fetch(KeyName.of("k")));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e)
        .hasMessageContaining(server.url() + " GET /v1/secret/data/k: HTTP 403")
        .hasMessageContaining("permission denied")
        .hasMessageContaining("its policy does not allow");
  }

  @Test
  void aTokenFileMayBeReplacedAtAnyTime() throws Exception {
    KeyProvider.Storing provider = provider();
    provider.store(KeyName.of("replaced"), key(KEY_16));
    String old = Files.readString(token).strip();
    server.root("POST", "auth/token/revoke", "{\"token\":\"" + old + "\"}");
    ProviderException e = failure(() -> provider.fetch(KeyName.of("replaced")));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e).hasMessageContaining("HTTP 403").hasMessageNotContaining(old);
    OpenBao.write(token, server.token());
    assertThat(fetch(provider, "replaced")).isEqualTo(key(KEY_16));
  }

  @Test
  void aRenewableTokenIsRenewed() throws Exception {
    OpenBao.Answer made =
        server.root(
            "POST",
            "auth/token/create-orphan",
            "{\"policies\":[\"pgveil\"],\"no_default_policy\":true,\"ttl\":\"1h\"}");
    OpenBao.write(token, made.text("/auth/client_token"));
    String accessor = "{\"accessor\":\"" + made.text("/auth/accessor") + "\"}";
    assertThat(provider().fetch(KeyName.of("any"))).isEmpty();
    assertThat(lastRenewal(accessor)).isZero();
    KeyProvider.Storing provider = provider();
    provider.store(KeyName.of("renewed"), key(KEY_16));
    TestCluster.await("the token is renewed", () -> lastRenewal(accessor) != 0);
  }

  private static long lastRenewal(String accessor) throws Exception {
    return server
        .root("POST", "auth/token/lookup-accessor", accessor)
        .body()
        .at("/data/last_renewal_time")
        .asLong();
  }

  /** Options of a login instead of a token file. */
  private String[] login(String mount, String secretId) throws Exception {
    return new String[] {
      "tokenPath",
      "",
      "approlePath",
      mount,
      "roleIdPath",
      OpenBao.write(temporary.resolve("role-id"), server.roleId(mount)).toString(),
      "secretIdPath",
      OpenBao.write(temporary.resolve("secret-id"), secretId + "\n" + server.url()).toString()
    };
  }

  @Test
  void aLoginByAppRoleGivesAToken() throws Exception {
    server.appRole("approle", "");
    String[] login = login("approle", server.secretId("approle", 1));
    // the default path
    login[3] = "";
    KeyProvider.Storing provider = provider(login);
    provider.store(KeyName.of("by-role"), key(KEY_16));
    assertThat(fetch(provider, "by-role")).as("by the same login").isEqualTo(key(KEY_16));

    ProviderException e = failure(() -> provider(login).fetch(KeyName.of("by-role")));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e)
        .hasMessageContaining(server.url() + " POST /v1/auth/approle/login: HTTP 400")
        .hasMessageContaining("the secret id or approlePath is not valid");

    // a new secret id needs no notice; a login of its own for each who opens the provider
    String next = server.secretId("approle", 10);
    OpenBao.write(temporary.resolve("secret-id"), next);
    validate(login);
    assertThat(fetch(provider(login), "by-role")).isEqualTo(key(KEY_16));
    server.root("PUT", "sys/leases/revoke-prefix/auth/approle/login", "");
    assertThat(fetch(provider, "by-role")).as("after a 403").isEqualTo(key(KEY_16));
    assertThat(server.loginsLeft("approle", next)).isBetween(1, 7);
  }

  @Test
  void aTokenOfALoginThatEndsIsReplaced() throws Exception {
    String mount = "teams/short";
    server.appRole(mount, ",\"token_ttl\":\"3s\",\"token_max_ttl\":\"3s\"");
    String secretId = server.secretId(mount, 1000);
    KeyProvider.Storing provider = provider(login(mount, secretId));
    provider.store(KeyName.of("short"), key(KEY_16));
    TestCluster.await("two more logins", () -> server.loginsLeft(mount, secretId) <= 997);
    assertThat(fetch(provider, "short")).isEqualTo(key(KEY_16));
  }

  @Test
  void aTokenOfALoginIsRenewed() throws Exception {
    server.appRole("renewing", ",\"token_period\":\"1h\"");
    String secretId = server.secretId("renewing", 10);
    long before = server.count("update", "auth/token/renew-self");
    KeyProvider.Storing provider = provider(login("renewing", secretId));
    provider.store(KeyName.of("renewing"), key(KEY_16));
    TestCluster.await(
        "the token is renewed", () -> server.count("update", "auth/token/renew-self") > before);
    assertThat(server.loginsLeft("renewing", secretId)).isEqualTo(9);
  }

  @Test
  void aSealedServerIsWaitedForAndAStoppedOneIsNamed() throws Exception {
    KeyProvider.Storing provider = provider();
    provider.store(KeyName.of("sealed"), key(KEY_16));
    server.seal();
    try (ExecutorService one = Executors.newSingleThreadExecutor()) {
      Future<byte[]> waiting = one.submit(() -> fetch(provider, "sealed"));
      server.unseal();
      assertThat(waiting.get()).isEqualTo(key(KEY_16));
    }
    server.stop();
    try {
      ProviderException e = failure(() -> provider.fetch(KeyName.of("sealed")));
      assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
      assertThat(e)
          .hasMessageContaining(server.url() + " GET /v1/secret/data/sealed: cannot connect")
          .hasMessageContaining("tried for 10 s");
    } finally {
      server.startAgain();
      server.unseal();
    }
    assertThat(fetch(provider, "sealed")).isEqualTo(key(KEY_16));
  }

  @Test
  void anotherServerIsAskedWhenTheFirstIsGone() throws Exception {
    KeyProvider.Storing provider = provider("url", "https://127.0.0.1:1, " + server.url() + "/");
    provider.store(KeyName.of("second"), key(KEY_16));
    assertThat(fetch(provider, "second")).isEqualTo(key(KEY_16));
  }

  @Test
  void aServerThatIsNotTrustedGetsNoToken() throws Exception {
    Path strangers = Files.createDirectory(temporary.resolve("strangers"));
    Process p =
        new ProcessBuilder(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=stranger",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem")
            .directory(strangers.toFile())
            .redirectErrorStream(true)
            .start();
    assertThat(new String(p.getInputStream().readAllBytes(), UTF_8)).isNotNull();
    assertThat(p.waitFor()).isZero();
    for (String authorities : List.of(strangers.resolve("ca.pem").toString(), "")) {
      ProviderException e = failure(() -> provider("caPath", authorities).fetch(KeyName.of("k")));
      assertThat(e.code()).isEqualTo(Code.REFUSED);
      assertThat(e).hasMessageContaining(server.url()).hasMessageContaining("TLS: ");
    }
    // the certificate is for 127.0.0.1 and localhost
    String other = server.url().replace("127.0.0.1", "127.0.0.2");
    assertThat(failure(() -> provider("url", other).fetch(KeyName.of("k"))))
        .hasMessageContaining("127.0.0.2");
  }

  @Test
  void aSecretThatIsNoKeyIsRefused() throws Exception {
    Map<String, String> secrets =
        Map.of(
            "no-text", "{\"key\":17}",
            "no-key", "{\"other\":\"x\"}",
            "no-base64", "{\"key\":\"%%%\"}",
            "empty", "{\"key\":\"\"}",
            "short", "{\"key\":\"c2hvcnQ=\"}",
            "long", "{\"key\":\"%s\"}".formatted("A".repeat(4000)));
    for (Map.Entry<String, String> secret : secrets.entrySet()) {
      String name = secret.getKey();
      server.root("POST", "secret/data/" + name, "{\"data\":" + secret.getValue() + "}");
      ProviderException e = failure(() -> provider().fetch(KeyName.of(name)));
      assertThat(e.code())
          .as(name)
          .isEqualTo(
              name.startsWith("no-key") || name.startsWith("no-text")
                  ? Code.INVALID_RESPONSE
                  : Code.INVALID_KEY);
      assertThat(e).hasMessageContaining("secret/data/" + name + ": returned");
    }
  }
}
