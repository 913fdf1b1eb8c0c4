package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.keys.KeyException.Kind;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The management operations: checks, their order, messages, and what they do (behaviour 3, 4). */
class OperationsTest {
  private static final int SPC = 1663;
  private static final Scope OTHER = Scope.database(16385);

  @TempDir Path root;
  private Cluster cluster;
  private KeyDirectory d;

  @BeforeEach
  void make() throws KeyException {
    cluster = new Cluster(root).made();
    d = cluster.open();
  }

  @AfterEach
  void close() {
    d.close();
  }

  private static KeyException failure(ThrowingCallable call) {
    return Objects.requireNonNull(catchThrowableOfType(KeyException.class, call));
  }

  /** The call fails with exactly this text of pg_tde's, and nothing on disk changes. */
  private void refuses(Kind kind, String primary, ThrowingCallable call) {
    refuses(kind, primary, null, null, call);
  }

  private void refuses(
      Kind kind,
      String primary,
      @Nullable String detail,
      @Nullable String hint,
      ThrowingCallable call) {
    Map<String, byte[]> before = cluster.snapshot();
    KeyException e = failure(call);
    assertThat(e.primary()).isEqualTo(primary);
    assertThat(e.kind()).isEqualTo(kind);
    assertThat(e.detail()).isEqualTo(detail);
    assertThat(e.hint()).isEqualTo(hint);
    assertThat(cluster.snapshot()).usingRecursiveComparison().isEqualTo(before);
  }

  private int add(
      Scope owner, @Nullable String type, @Nullable String name, @Nullable String options)
      throws KeyException {
    return new AddProvider(owner, type, name, options).run(d);
  }

  private @Nullable String keyOf(Scope scope) throws KeyException {
    PrincipalKeys.Info info = d.principalKeys().info(scope);
    return info == null ? null : info.name();
  }

  @Test
  void addProviderChecksInOrder() throws KeyException {
    Scope g = Scope.SERVER;
    String longName = "x".repeat(127);
    String longOptions = " ".repeat(1024);
    refuses(Kind.NULL_ARGUMENT, "provider type cannot be null", () -> add(g, null, null, null));
    refuses(Kind.NULL_ARGUMENT, "provider name cannot be null", () -> add(g, "x", null, null));
    refuses(Kind.NULL_ARGUMENT, "provider options cannot be null", () -> add(g, "x", "", null));
    refuses(
        Kind.INVALID_ARGUMENT,
        "provider name \"\" is too short",
        () -> add(g, "x", "", longOptions));
    refuses(
        Kind.INVALID_ARGUMENT,
        "provider name \"" + longName + "\" is too long",
        null,
        "Maximum length is 127 bytes.",
        () -> add(g, "x", longName, longOptions));
    refuses(
        Kind.INVALID_ARGUMENT,
        "too large provider options, maximum size is 1023 bytes",
        () -> add(g, "x", "mem", longOptions));
    refuses(Kind.INVALID_TYPE, "Invalid provider type.", () -> add(g, "x", "mem", "["));
    refuses(
        Kind.INVALID_ARGUMENT,
        "key provider options must be an object",
        () -> add(g, "memory", "mem", "[]"));
    cluster.memory.failure = new ProviderException(ProviderException.Code.UNAVAILABLE, "is down");
    refuses(Kind.PROVIDER_FAILED, "is down", () -> add(g, "memory", "mem", Cluster.MEM_OPTIONS));
    cluster.memory.failure = null;
    refuses(
        Kind.DUPLICATE,
        "Key provider \"mem\" already exists.",
        () -> add(g, "memory", "mem", Cluster.MEM_OPTIONS));
    assertThat(add(g, "memory", "MEM", Cluster.MEM_OPTIONS)).isEqualTo(-2);
    assertThat(add(Cluster.DB, "memory", "mem", Cluster.MEM_OPTIONS)).isEqualTo(1);
    assertThat(add(Cluster.DB, "memory", "x".repeat(126), Cluster.MEM_OPTIONS)).isEqualTo(2);
  }

  @Test
  void providerOptionErrors() {
    Scope g = Scope.SERVER;
    refuses(
        Kind.REFUSED,
        "key provider value cannot be an object",
        () -> add(g, "memory", "n", "{\"a\":{}}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "unexpected array in field \"a\"",
        () -> add(g, "memory", "n", "{\"a\":[]}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "unexpected boolean in field \"a\"",
        () -> add(g, "memory", "n", "{\"a\":true}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "unexpected field \"z\" for memory provider",
        () -> add(g, "memory", "n", "{\"z\":1}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "missing in the keyring options: b a",
        () -> add(g, "memory", "n", "{\"b\":null,\"a\":\"\"}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "file path is missing in the keyring options",
        () -> add(g, "file", "n", "{}"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "unexpected field \"a\" for file provider",
        () -> add(g, "file", "n", "{\"a\":1}"));
    for (String bad : List.of("", "{", "{\"a\":1", "{\"a\"}", "null", "1", "{} {}", "\"x\"")) {
      assertThatThrownBy(() -> add(g, "memory", "n", bad))
          .isInstanceOf(KeyException.class)
          .hasMessageStartingWith("key provider options");
    }
  }

  @Test
  void idsAreNeverUsedAgain() throws KeyException {
    assertThat(add(Scope.SERVER, "memory", "b", Cluster.MEM_OPTIONS)).isEqualTo(-2);
    new DeleteProvider(Scope.SERVER, "b").run(d);
    byte[] file = cluster.content("1664_providers");
    assertThat(file).hasSize(2 * 1160);
    assertThat(Bytes.getInt(file, 1160)).isEqualTo(-2);
    assertThat(Arrays.copyOfRange(file, 1164, 2320)).containsOnly(0);
    assertThat(add(Scope.SERVER, "memory", "b", Cluster.MEM_OPTIONS)).isEqualTo(-3);
    assertThat(new ListProviders(Scope.SERVER).run(d))
        .containsExactly(
            new ListProviders.Item(-1, "mem", "memory", Cluster.MEM_OPTIONS),
            new ListProviders.Item(-3, "b", "memory", Cluster.MEM_OPTIONS));
  }

  @Test
  void createKeyChecks() throws KeyException {
    refuses(
        Kind.NULL_ARGUMENT,
        "key name cannot be null",
        () -> new CreateKey(Scope.SERVER, null, null, CipherType.AES_128).run(d));
    refuses(
        Kind.INVALID_ARGUMENT,
        "key name \"\" is too short",
        () -> new CreateKey(Scope.SERVER, null, "", CipherType.AES_128).run(d));
    String longName = "é".repeat(128);
    refuses(
        Kind.INVALID_ARGUMENT,
        "key name \"" + longName + "\" is too long",
        null,
        "Maximum length is 255 bytes.",
        () -> new CreateKey(Scope.SERVER, null, longName, CipherType.AES_128).run(d));
    refuses(
        Kind.NULL_ARGUMENT,
        "key provider name cannot be null",
        () -> new CreateKey(Scope.SERVER, null, "k", CipherType.AES_128).run(d));
    refuses(
        Kind.NO_SUCH_PROVIDER,
        "key provider \"nope\" does not exists",
        () -> new CreateKey(Scope.SERVER, "nope", "k", CipherType.AES_128).run(d));
    refuses(
        Kind.INVALID_ARGUMENT,
        "cannot create key \"k1\" because it already exists",
        () -> new CreateKey(Scope.SERVER, "MEM", "k1", CipherType.AES_128).run(d));
    new CreateKey(Scope.SERVER, "MEM", "x".repeat(255), CipherType.AES_256).run(d);
    assertThat(cluster.memory.keys.get(KeyName.of("x".repeat(255)))).hasSize(32);

    cluster.memory.failure = new ProviderException(ProviderException.Code.INVALID_RESPONSE, "odd");
    byte[] before = Objects.requireNonNull(cluster.memory.keys.get(KeyName.of("k1")));
    assertThatThrownBy(() -> new CreateKey(Scope.SERVER, "mem", "k1", CipherType.AES_128).run(d))
        .hasMessageContaining("odd");
    assertThat(cluster.memory.keys.get(KeyName.of("k1"))).isEqualTo(before);
  }

  @Test
  void setKeyChecks() {
    refuses(
        Kind.NO_SUCH_PROVIDER,
        "key provider \"nope\" does not exists",
        () -> new SetKey(Cluster.DB, Scope.SERVER, "nope", "k1").run(d));
    refuses(
        Kind.NO_SUCH_KEY,
        "key \"nope\" does not exist",
        null,
        "Use pg_tde_create_key_using_global_key_provider() to create it.",
        () -> Cluster.set(d, Cluster.DB, "nope"));
    cluster.memory.failure = new ProviderException(ProviderException.Code.UNAVAILABLE, "is down");
    refuses(
        Kind.PROVIDER_FAILED,
        "failed to retrieve principal key \"k1\" from key provider \"mem\"",
        "Resource not available",
        null,
        () -> Cluster.set(d, Cluster.DB, "k1"));
    assertThat(failure(() -> Cluster.set(d, Cluster.DB, "k1")))
        .hasMessageContaining("database 16384")
        .hasMessageContaining("is down");
    cluster.memory.failure = null;
    cluster.memory.keys.put(KeyName.of("odd"), new byte[17]);
    refuses(
        Kind.PROVIDER_FAILED,
        "failed to retrieve principal key \"odd\" from key provider \"mem\"",
        "Invalid key",
        null,
        () -> Cluster.set(d, Cluster.DB, "odd"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "the shared relations have no principal key of their own",
        () -> Cluster.set(d, Scope.database(0), "k1"));
    refuses(
        Kind.INVALID_ARGUMENT,
        "a key of the server cannot come from a key provider of database 16384",
        () -> new SetKey(Scope.SERVER, Cluster.DB, "mem", "k1").run(d));
  }

  @Test
  void aDatabaseKeyMayComeFromItsOwnProvider() throws KeyException {
    add(Cluster.DB, "memory", "local", Cluster.MEM_OPTIONS);
    new SetKey(Cluster.DB, Cluster.DB, "LOCAL", "k1").run(d);
    assertThat(d.principalKeys().info(Cluster.DB))
        .isNotNull()
        .extracting(PrincipalKeys.Info::providerId, PrincipalKeys.Info::providerName)
        .containsExactly(1, "local");
    refuses(
        Kind.NO_SUCH_KEY,
        "key \"nope\" does not exist",
        null,
        "Use pg_tde_create_key_using_database_key_provider() to create it.",
        () -> new SetKey(Cluster.DB, Cluster.DB, "local", "nope").run(d));
    refuses(
        Kind.IN_USE,
        "cannot delete provider which is currently in use",
        () -> new DeleteProvider(Cluster.DB, "local").run(d));
  }

  @Test
  void rotationKeepsInternalKeys() throws KeyException {
    Cluster.set(d, Cluster.DB, "k1");
    RelationKeys keys = d.relationKeys(16384);
    byte[] a = keys.create(SPC, 1, CipherType.AES_128).copyKey();
    byte[] b = keys.create(SPC, 2, CipherType.AES_256).copyKey();
    keys.create(SPC, 3, CipherType.AES_128);
    keys.sync();
    keys.free(SPC, 3);
    // not yet synced: the rotation takes it along
    byte[] c = keys.create(1700, 4, CipherType.AES_128).copyKey();
    Cluster.set(d, Cluster.DB, "k2");
    assertThat(keys.isDurable(1700, 4)).isTrue();
    assertThat(cluster.content("16384_keys")).hasSize(320 + 3 * 96);
    keys.create(SPC, 5, CipherType.AES_128);
    keys.sync();
    assertThat(cluster.content("16384_keys")).hasSize(320 + 4 * 96);
    d.close();
    cluster.memory.keys.remove(KeyName.of("k1"));
    d = cluster.open();
    RelationKeys again = d.relationKeys(16384);
    assertThat(Objects.requireNonNull(again.find(SPC, 1)).copyKey()).isEqualTo(a);
    assertThat(Objects.requireNonNull(again.find(SPC, 2)).copyKey()).isEqualTo(b);
    assertThat(Objects.requireNonNull(again.find(1700, 4)).copyKey()).isEqualTo(c);
    assertThat(again.find(SPC, 3)).isNull();
    assertThat(keyOf(Cluster.DB)).isEqualTo("k2");
  }

  @Test
  void settingTheSameKeyAgainWrapsAnew() throws KeyException {
    Cluster.set(d, Scope.SERVER, "k1");
    d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 1);
    byte[] before = cluster.content("wal_keys");
    Cluster.set(d, Scope.SERVER, "k1");
    assertThat(cluster.content("wal_keys")).hasSize(before.length).isNotEqualTo(before);
  }

  @Test
  void aRetiredKeyServesButIsNotSet() throws KeyException {
    Cluster.set(d, Cluster.DB, "k1");
    d.close();
    cluster.memory.retired.add(KeyName.of("k1"));
    d = cluster.open();
    new VerifyKey(Cluster.DB).run(d);
    assertThat(failure(() -> Cluster.set(d, Scope.SERVER, "k1")))
        .isInstanceOfSatisfying(
            KeyException.class,
            e ->
                assertThat(((ProviderException) Objects.requireNonNull(e.getCause())).code())
                    .isEqualTo(ProviderException.Code.RETIRED))
        .hasMessageContaining("k1 is retired");
    assertThat(d.walKeys().header()).isNull();
  }

  @Test
  void aDatabaseTakesTheDefaultKeyOverWhenItNeedsOne() throws KeyException {
    refuses(
        Kind.NOT_CONFIGURED,
        "principal key not configured",
        null,
        "Use pg_tde_set_key_using_database_key_provider() or"
            + " pg_tde_set_key_using_global_key_provider() to configure one.",
        () -> d.relationKeys(16384).create(SPC, 1, CipherType.AES_128));
    Cluster.set(d, Scope.DEFAULT, "k1");
    assertThat(keyOf(Scope.SERVER)).as("the server had none").isEqualTo("k1");
    assertThat(d.sealKeys().exist()).isTrue();
    assertThat(new KeyInfo(Cluster.DB).run(d)).isNull();
    d.relationKeys(16384).create(SPC, 1, CipherType.AES_128);
    d.sync();
    assertThat(new KeyInfo(Cluster.DB).run(d))
        .isNotNull()
        .extracting(PrincipalKeys.Info::name, PrincipalKeys.Info::created)
        .containsExactly(
            "k1", Objects.requireNonNull(d.principalKeys().info(Scope.DEFAULT)).created());
    assertThat(Bytes.getInt(cluster.content("16384_keys"), 8)).isEqualTo(16384);
  }

  @Test
  void rotatingTheDefaultKeyReachesWhoeverUsesIt() throws KeyException {
    Cluster.set(d, Scope.DEFAULT, "k1");
    d.relationKeys(16384).create(SPC, 1, CipherType.AES_128);
    d.relationKeys(0).create(1664, 1, CipherType.AES_128);
    Cluster.set(d, OTHER, "k3");
    d.relationKeys(16385).create(SPC, 1, CipherType.AES_128);
    d.sync();
    Cluster.set(d, Scope.DEFAULT, "k2");
    assertThat(keyOf(Scope.DEFAULT)).isEqualTo("k2");
    assertThat(keyOf(Scope.SERVER)).isEqualTo("k2");
    assertThat(keyOf(Cluster.DB)).isEqualTo("k2");
    assertThat(keyOf(Scope.database(0))).isEqualTo("k2");
    assertThat(keyOf(OTHER)).isEqualTo("k3");
    assertThat(Bytes.getText(cluster.content("pgveil.seal"), 32, 256)).isEqualTo("k2");

    Cluster.set(d, Scope.SERVER, "k3");
    Cluster.set(d, Scope.DEFAULT, "k1");
    assertThat(keyOf(Scope.SERVER)).as("not the default's any more").isEqualTo("k3");
    assertThat(keyOf(Scope.database(0))).as("goes with the server").isEqualTo("k3");
    assertThat(keyOf(Cluster.DB)).isEqualTo("k1");
  }

  @Test
  void sharedRelationsUseTheServersKey() throws KeyException {
    Cluster.set(d, Scope.SERVER, "k1");
    byte[] key = d.relationKeys(0).create(1664, 1262, CipherType.AES_128).copyKey();
    d.sync();
    assertThat(Hex.at(cluster.content("0_keys"), 8, 4)).isEqualTo("00000000");
    assertThat(keyOf(Scope.database(0))).isEqualTo("k1");
    Cluster.set(d, Scope.SERVER, "k2");
    d.close();
    cluster.memory.keys.remove(KeyName.of("k1"));
    d = cluster.open();
    assertThat(Objects.requireNonNull(d.relationKeys(0).find(1664, 1262)).copyKey()).isEqualTo(key);
  }

  @Test
  void changeProviderVerifiesKeysInUse() throws KeyException {
    Scope g = Scope.SERVER;
    refuses(
        Kind.NO_SUCH_PROVIDER,
        "key provider \"nope\" does not exists",
        () -> new ChangeProvider(g, "memory", "nope", "{").run(d));
    Cluster.set(d, Cluster.DB, "k1");
    Path keyring = root.resolve("moved");
    String file = "{\"path\":\"" + keyring + "\"}";
    refuses(
        Kind.KEY_NOT_FOUND,
        "key \"k1\" used by database \"16384\" not found in modified key provider \"mem\"",
        () -> new ChangeProvider(g, "file", "mem", file).run(d));
    Cluster.set(d, Scope.SERVER, "k1");
    refuses(
        Kind.KEY_NOT_FOUND,
        "key \"k1\" used as server key not found in modified key provider \"mem\"",
        () -> new ChangeProvider(g, "file", "mem", file).run(d));
    assertThat(keyring).as("no keyring is made at a wrong path").doesNotExist();

    // another key of that name at the new place
    add(g, "file", "moved", file);
    new CreateKey(g, "moved", "k1", CipherType.AES_128).run(d);
    refuses(
        Kind.WRONG_KEY,
        "key \"k1\" from modified key provider \"mem\" does not match existing server key",
        () -> new ChangeProvider(g, "file", "mem", file).run(d));

    cluster.memory.failure = null;
    refuses(
        Kind.INVALID_ARGUMENT,
        "keyring \"MEM\" does not exist",
        () -> new ChangeProvider(g, "memory", "MEM", "{\"a\":2,\"b\":2}").run(d));
    new ChangeProvider(g, "memory", "mem", "{\"a\":2,\"b\":2}").run(d);
    assertThat(new ListProviders(g).run(d).get(0))
        .isEqualTo(new ListProviders.Item(-1, "mem", "memory", "{\"a\":2,\"b\":2}"));

    refuses(
        Kind.INVALID_ARGUMENT,
        "unexpected field \"c\" for file provider",
        () -> new ChangeProvider(g, "file", "mem", "{\"c\":1}", true).run(d));
    new ChangeProvider(g, "file", "mem", file, true).run(d);
    assertThat(new ListProviders(g).run(d).get(0).options()).isEqualTo(file);
  }

  private String providerOf(Scope scope) throws KeyException {
    PrincipalKeys.Info info = Objects.requireNonNull(d.principalKeys().info(scope));
    return info.name() + " in " + info.providerName();
  }

  private List<Scope> move(String key, String from, String to) throws KeyException {
    return new MoveKey(key, Scope.SERVER, from, Scope.SERVER, to).run(d);
  }

  @Test
  void aKeyIsMovedWithWhateverUsesIt() throws KeyException {
    Cluster.set(d, Scope.DEFAULT, "k1");
    byte[] key = d.relationKeys(16384).create(1663, 1, CipherType.AES_128).copyKey();
    d.relationKeys(0).create(1664, 1, CipherType.AES_128);
    Cluster.set(d, OTHER, "k2");
    d.sync();
    var created = Objects.requireNonNull(d.principalKeys().info(Cluster.DB)).created();
    add(Scope.SERVER, "other", "new", Cluster.MEM_OPTIONS);

    // what is in memory needs no provider
    cluster.memory.failure = new ProviderException(ProviderException.Code.UNAVAILABLE, "gone");
    assertThat(move("k1", "mem", "new"))
        .containsExactly(Scope.SERVER, Scope.database(0), Cluster.DB, Scope.DEFAULT);
    cluster.memory.failure = null;

    for (Scope scope : List.of(Scope.SERVER, Scope.DEFAULT, Scope.database(0), Cluster.DB)) {
      assertThat(providerOf(scope)).isEqualTo("k1 in new");
    }
    assertThat(providerOf(OTHER)).isEqualTo("k2 in mem");
    assertThat(Objects.requireNonNull(d.principalKeys().info(Cluster.DB)).created())
        .isEqualTo(created);
    assertThat(cluster.other.keys.get(KeyName.of("k1")))
        .isEqualTo(cluster.memory.keys.get(KeyName.of("k1")));
    assertThat(move("k1", "mem", "new")).as("a second time").isEmpty();
    assertThat(move("k3", "mem", "new")).as("a key that nothing uses").isEmpty();
    assertThat(cluster.other.keys).hasSize(2);

    cluster.memory.keys.remove(KeyName.of("k1"));
    d.close();
    d = cluster.open();
    assertThat(Objects.requireNonNull(d.relationKeys(16384).find(1663, 1)).copyKey())
        .isEqualTo(key);
    assertThat(move("k1", "new", "mem")).as("and back").hasSize(4);
    assertThat(providerOf(Scope.SERVER)).isEqualTo("k1 in mem");
  }

  @Test
  void aKeyIsNotMovedWhereItCannotBe() throws KeyException {
    Cluster.set(d, Scope.DEFAULT, "k1");
    add(Scope.SERVER, "other", "new", Cluster.MEM_OPTIONS);
    refuses(
        Kind.INVALID_ARGUMENT,
        "cannot move key \"k1\": it is in key provider \"mem\" already",
        () -> move("k1", "mem", "mem"));
    refuses(Kind.NO_SUCH_KEY, "key \"none\" does not exist", () -> move("none", "mem", "new"));
    refuses(
        Kind.NO_SUCH_PROVIDER,
        "key provider \"nope\" does not exists",
        () -> move("k1", "mem", "nope"));
    cluster.other.keys.put(KeyName.of("k1"), new byte[16]);
    refuses(
        Kind.DUPLICATE,
        "cannot move key \"k1\": key provider \"new\" has another one of this name",
        () -> move("k1", "mem", "new"));
    cluster.other.keys.clear();
    cluster.other.failure = new ProviderException(ProviderException.Code.UNAVAILABLE, "down");
    refuses(Kind.PROVIDER_FAILED, "down", () -> move("k1", "mem", "new"));
    cluster.other.failure = null;
    // stored, and not given back as it was
    cluster.other.hook =
        call -> {
          if (call.equals("stored")) {
            cluster.other.keys.replaceAll((name, key) -> new byte[16]);
          }
        };
    refuses(
        Kind.DUPLICATE,
        "cannot move key \"k1\": key provider \"new\" has another one of this name",
        () -> move("k1", "mem", "new"));

    add(Cluster.DB, "other", "local", Cluster.MEM_OPTIONS);
    refuses(
        Kind.INVALID_ARGUMENT,
        "the key of the server cannot come from a key provider of database 16384",
        () -> new MoveKey("k1", Scope.SERVER, "mem", Cluster.DB, "local").run(d));
    assertThat(providerOf(Scope.SERVER)).isEqualTo("k1 in mem");
  }

  @Test
  void aKeyMovesBetweenTheProvidersOfADatabaseAndTheGlobalOnes() throws KeyException {
    add(Cluster.DB, "other", "local", Cluster.MEM_OPTIONS);
    Cluster.set(d, Cluster.DB, "k1");
    byte[] key = d.relationKeys(16384).create(1663, 1, CipherType.AES_128).copyKey();
    d.sync();
    new MoveKey("k1", Scope.SERVER, "mem", Cluster.DB, "local").run(d);
    assertThat(providerOf(Cluster.DB)).isEqualTo("k1 in local");
    new MoveKey("k1", Cluster.DB, "local", Scope.SERVER, "mem").run(d);
    assertThat(providerOf(Cluster.DB)).isEqualTo("k1 in mem");
    assertThat(Objects.requireNonNull(d.relationKeys(16384).find(1663, 1)).copyKey())
        .isEqualTo(key);
  }

  @Test
  void changeProviderMakesAKeyringOnlyIfNoKeyIsInUse() throws KeyException {
    Path keyring = root.resolve("new");
    new ChangeProvider(Scope.SERVER, "file", "mem", "{\"path\":\"" + keyring + "\"}").run(d);
    assertThat(keyring).isEmptyFile();
  }

  @Test
  void aLocalProviderOfOneDatabaseIsNotConfusedWithAnothers() throws KeyException {
    add(Cluster.DB, "memory", "local", Cluster.MEM_OPTIONS);
    add(OTHER, "memory", "local", Cluster.MEM_OPTIONS);
    new SetKey(Cluster.DB, Cluster.DB, "local", "k1").run(d);
    new DeleteProvider(OTHER, "local").run(d);
    assertThat(new ListProviders(OTHER).run(d)).isEmpty();
    assertThat(new ListProviders(Cluster.DB).run(d)).hasSize(1);
  }

  @Test
  void deleteProviderChecks() throws KeyException {
    refuses(
        Kind.NULL_ARGUMENT,
        "provider_name cannot be null",
        () -> new DeleteProvider(Scope.SERVER, null).run(d));
    refuses(
        Kind.NO_SUCH_PROVIDER,
        "key provider \"nope\" does not exists",
        () -> new DeleteProvider(Scope.SERVER, "nope").run(d));
    refuses(
        Kind.INVALID_ARGUMENT,
        "key provider \"Mem\" does not exist",
        () -> new DeleteProvider(Scope.SERVER, "Mem").run(d));
    Cluster.set(d, Scope.DEFAULT, "k1");
    refuses(
        Kind.IN_USE,
        "cannot delete provider which is currently in use",
        () -> new DeleteProvider(Scope.SERVER, "mem").run(d));
  }

  /** Seen failing: the look of KeyFile.removeIfEmpty before its locks; a relation has no key. */
  @Test
  void aKeyIsNeverBornIntoAFileThatIsBeingRemoved() throws Exception {
    try (KeyDirectory d = cluster.open();
        ExecutorService pool = Executors.newSingleThreadExecutor()) {
      Cluster.set(d, Scope.DEFAULT, "k1");
      for (int database = 20_000; database < 20_200; database++) {
        Scope scope = Scope.database(database);
        RelationKeys keys = d.relationKeys(database);
        Cluster.set(d, scope, "k2");
        CyclicBarrier both = new CyclicBarrier(2);
        Future<InternalKey> born =
            pool.submit(
                () -> {
                  both.await();
                  return keys.create(1663, 1, CipherType.AES_128);
                });
        both.await();
        new DeleteKey(scope).run(d);
        InternalKey key = born.get();
        keys.sync();
        assertThat(Objects.requireNonNull(keys.find(1663, 1)).copyKey()).isEqualTo(key.copyKey());
      }
    }
  }

  @Test
  void deleteKey() throws KeyException {
    refuses(
        Kind.REFUSED,
        "principal key does not exists for the database",
        () -> new DeleteKey(Cluster.DB).run(d));
    Cluster.set(d, Cluster.DB, "k1");
    new DeleteKey(Cluster.DB).run(d);
    assertThat(keyOf(Cluster.DB)).isNull();
    assertThat(cluster.snapshot()).doesNotContainKey("16384_keys");

    Cluster.set(d, Cluster.DB, "k1");
    d.relationKeys(16384).create(SPC, 1, CipherType.AES_128);
    d.sync();
    refuses(
        Kind.IN_USE,
        "cannot delete principal key",
        "There are encrypted tables in the database.",
        "Set default principal key as fallback option or decrypt all tables before deleting"
            + " principal key.",
        () -> new DeleteKey(Cluster.DB).run(d));
    Cluster.set(d, Scope.DEFAULT, "k2");
    new DeleteKey(Cluster.DB).run(d);
    assertThat(keyOf(Cluster.DB)).isEqualTo("k2");
    assertThat(d.relationKeys(16384).find(SPC, 1)).isNotNull();
    refuses(
        Kind.IN_USE,
        "cannot delete principal key",
        "There are encrypted tables in the database.",
        null,
        () -> new DeleteKey(Cluster.DB).run(d));
  }

  @Test
  void deleteDefaultKey() throws KeyException {
    refuses(Kind.REFUSED, "default principal key is not set", () -> new DeleteDefaultKey().run(d));
    Cluster.set(d, Scope.SERVER, "k3");
    Cluster.set(d, Scope.DEFAULT, "k1");
    Cluster.set(d, OTHER, "k1");
    d.relationKeys(16384).create(SPC, 1, CipherType.AES_128);
    d.sync();
    refuses(
        Kind.IN_USE,
        "cannot delete default principal key",
        null,
        "There are encrypted tables in the database with id: 16384.",
        () -> new DeleteDefaultKey().run(d));
    d.relationKeys(16384).free(SPC, 1);
    d.sync();
    Cluster.set(d, Scope.SERVER, "k1");
    refuses(
        Kind.IN_USE,
        "cannot delete default principal key",
        null,
        "There are sealed files: set another server key first.",
        () -> new DeleteDefaultKey().run(d));
    d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 1);
    refuses(
        Kind.IN_USE,
        "cannot delete default principal key",
        null,
        "There are WAL encryption keys.",
        () -> new DeleteDefaultKey().run(d));
    Cluster.set(d, Scope.SERVER, "k3");
    new DeleteDefaultKey().run(d);
    assertThat(cluster.snapshot().keySet())
        .containsExactly("1664_providers", "keys_version", "pgveil.seal", "wal_keys");
    assertThat(keyOf(Scope.DEFAULT)).isNull();
  }

  @Test
  void verifyKey() throws KeyException {
    refuses(
        Kind.NOT_CONFIGURED,
        "principal key not configured for current database",
        () -> new VerifyKey(Scope.DEFAULT).run(d));
    Cluster.set(d, Cluster.DB, "k1");
    new VerifyKey(Cluster.DB).run(d);
    byte[] right = Objects.requireNonNull(cluster.memory.keys.put(KeyName.of("k1"), new byte[16]));
    refuses(
        Kind.WRONG_KEY,
        "Failed to verify principal key header for key k1, incorrect principal key or corrupted"
            + " key file",
        () -> new VerifyKey(Cluster.DB).run(d));
    cluster.memory.keys.remove(KeyName.of("k1"));
    refuses(
        Kind.KEY_NOT_FOUND,
        "key \"k1\" not found in key provider \"mem\"",
        () -> new VerifyKey(Cluster.DB).run(d));
    cluster.memory.keys.put(KeyName.of("k1"), right);
    new VerifyKey(Cluster.DB).run(d);
  }
}
