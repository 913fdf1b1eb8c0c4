package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.pgveil.linux.Posix;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.module.ModuleFinder;
import java.lang.reflect.Field;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.ServiceLoader;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Hazard 22: key material in no text, and off the heap where that can be. */
class SecretsTest {
  @TempDir Path root;

  /**
   * Seen failing: MADV_DONTDUMP in SecretMemory; no dd among the flags. mlock; no lo. The cleared
   * address in Secret.close; the copy throws nothing.
   */
  @Test
  void hazard22_secretMemoryIsLeftOutOfCoreDumpsAndLockedAndCleared() throws Exception {
    byte[] key = Hex.sequence(0x61, 32);
    SecretMemory memory = new SecretMemory();
    SecretMemory.Secret secret = memory.store(key);
    assertThat(flagsOf(secret)).as("not dumped, not given to children").contains("dd", "dc");
    Assumptions.assumingThat(
        Posix.geteuid() == 0, () -> assertThat(flagsOf(secret)).as("locked").contains("lo"));
    assertThat(secret.copy()).isEqualTo(key);
    SecretMemory.Secret second = memory.store(Hex.K128);
    secret.close();
    assertThatThrownBy(secret::copy).isInstanceOf(IllegalStateException.class);
    assertThat(second.copy()).isEqualTo(Hex.K128);
    memory.close();
    memory.close();
    second.close();
    assertThatThrownBy(second::copy).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> memory.store(key)).isInstanceOf(IllegalStateException.class);
  }

  /** VmFlags (proc(5)) of the mapping that holds a secret. */
  private static List<String> flagsOf(SecretMemory.Secret secret) throws Exception {
    Field field = SecretMemory.Secret.class.getDeclaredField("address");
    field.setAccessible(true);
    long address = field.getLong(secret);
    boolean here = false;
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
        String[] range = line.substring(0, line.indexOf(' ')).split("-", 2);
        here =
            address >= Long.parseUnsignedLong(range[0], 16)
                && Long.compareUnsigned(address, Long.parseUnsignedLong(range[1], 16)) < 0;
      } else if (here && line.startsWith("VmFlags:")) {
        return List.of(line.substring(8).strip().split(" ", -1));
      }
    }
    throw new AssertionError("no mapping holds the secret");
  }

  @Test
  void clearedSlotsAreUsedAgain() {
    try (SecretMemory memory = new SecretMemory()) {
      for (int i = 0; i < 10_000; i++) {
        memory.store(Hex.K256).close();
      }
      List<SecretMemory.Secret> many = new ArrayList<>();
      for (int i = 0; i < 5000; i++) {
        many.add(memory.store(Hex.sequence(i, 16)));
      }
      for (int i = 0; i < 5000; i++) {
        assertThat(many.get(i).copy()).isEqualTo(Hex.sequence(i, 16));
      }
    }
  }

  /** Seen failing: the silence of KeyMaterial.toString; its text contains the bytes. */
  @Test
  void hazard22_noTextShowsAKey() throws Exception {
    Cluster cluster = new Cluster(root).golden("current");
    List<Object> things = new ArrayList<>();
    List<byte[]> secrets = new ArrayList<>(List.of(Hex.P128, Hex.P256, Hex.K128, Hex.K256));
    try (KeyDirectory d = cluster.open()) {
      Cluster.repoint(d, root.resolve("keyring"));
      RelationKeys keys = d.relationKeys(16384);
      InternalKey key = Objects.requireNonNull(keys.find(1663, 16385));
      things.addAll(List.of(d, keys, key, keys.entries(), d.walKeys(), d.walKeys().ranges()));
      things.addAll(List.of(d.sealKeys(), d.principalKeys(), d.settings()));
      secrets.add(Objects.requireNonNull(d.sealKeys().copyKey(d.sealKeys().activeId())));
      PrincipalKey principal = Objects.requireNonNull(keys.principal());
      things.add(principal);
      things.add(new KeyMaterial(KeyName.of("n"), Hex.P128.clone()));
      try (KeyWrap wrap = new KeyWrap(principal, d.random())) {
        things.add(wrap);
      }
      Cluster.copy("keyring.wrong", root.resolve("wrong"));
      things.add(catchThrowable(() -> Cluster.repoint(d, root.resolve("wrong"))));
      things.add(
          catchThrowable(
              () ->
                  new CreateKey(Scope.SERVER, "golden", "test-db-key", CipherType.AES_128).run(d)));
      things.add(catchThrowable(() -> new SetKey(Cluster.DB, Scope.SERVER, "golden", "no").run(d)));
      byte[] damaged = cluster.content("16384_keys");
      damaged[320 + 64] ^= 1;
      cluster.write("16384_keys", damaged);
    }
    try (KeyDirectory d = cluster.open()) {
      things.add(catchThrowable(() -> d.relationKeys(16384).find(1663, 16385)));
    }
    for (Object thing : things) {
      assertThat(thing).isNotNull();
      StringWriter text = new StringWriter();
      text.append(thing.toString());
      if (thing instanceof Throwable t) {
        t.printStackTrace(new PrintWriter(text));
      }
      String all = text.toString();
      byte[] latin = all.getBytes(StandardCharsets.ISO_8859_1);
      for (byte[] secret : secrets) {
        assertThat(all.toLowerCase(Locale.ROOT)).doesNotContain(HexFormat.of().formatHex(secret));
        assertThat(all).doesNotContain(Base64.getEncoder().encodeToString(secret));
        assertThat(all).doesNotContain(Arrays.toString(secret));
        assertThat(Hex.indexOf(latin, secret)).isNegative();
      }
    }
  }

  /**
   * Seen failing: the sealed bytes in KeyWrap.wrap, clear ones instead; a key is found at byte 384.
   */
  @Test
  void hazard22_wrappedFilesHoldNoKey() throws Exception {
    Cluster cluster = new Cluster(root).made();
    List<byte[]> secrets = new ArrayList<>(cluster.memory.keys.values());
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.DEFAULT, "k1");
      secrets.add(d.relationKeys(16384).create(1663, 1, CipherType.AES_256).copyKey());
      d.sync();
      WalRange range = d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 1);
      secrets.add(d.walKeys().key(range).copyKey());
      secrets.add(Objects.requireNonNull(d.sealKeys().copyKey(d.sealKeys().activeId())));
    }
    for (byte[] content : cluster.snapshot().values()) {
      for (byte[] secret : secrets) {
        assertThat(Hex.indexOf(content, secret)).isNegative();
      }
    }
  }

  /**
   * A heap dump holds no principal key, also none that javax.crypto kept; internal keys it does
   * hold, which shows that the search would find one. Seen failing: key.destroy() in KeyWrap.close,
   * and again with a list of arrays in SecretMemory.store; the key is found in the dump.
   */
  @Test
  void hazard22_principalKeysAreNotOnTheHeap() throws Exception {
    Cluster cluster = new Cluster(root).golden("current");
    try (KeyDirectory d = cluster.open()) {
      Cluster.repoint(d, root.resolve("keyring"));
      new CreateKey(Scope.SERVER, "golden", "random", CipherType.AES_256).run(d);
      new SetKey(Cluster.DB, Scope.SERVER, "golden", "random").run(d);
      InternalKey internal = d.relationKeys(16384).create(1663, 1, CipherType.AES_256);
      d.sync();
      Path dump = root.resolve("heap.hprof");
      dumpHeap(dump);
      byte[] control = internal.copyKey();
      // the third record of the keyring
      byte[] keyring = Files.readAllBytes(root.resolve("keyring"));
      byte[] principal = Arrays.copyOfRange(keyring, 2 * 292 + 256, 2 * 292 + 288);
      byte[] heap = Files.readAllBytes(dump);
      Files.delete(dump);
      assertThat(Hex.indexOf(heap, control)).isNotNegative();
      assertThat(Hex.indexOf(heap, principal)).isNegative();
    }
  }

  /** By reflection: this module does not require java.management. */
  private static void dumpHeap(Path to) throws Exception {
    Class<?> factory;
    try {
      factory = Class.forName("java.lang.management.ManagementFactory");
    } catch (ClassNotFoundException e) {
      Assumptions.abort("no java.management in this JVM");
      return;
    }
    Class<?> type = Class.forName("com.sun.management.HotSpotDiagnosticMXBean");
    Object bean = factory.getMethod("getPlatformMXBean", Class.class).invoke(null, type);
    type.getMethod("dumpHeap", String.class, boolean.class).invoke(bean, to.toString(), false);
  }

  /** The file provider is found by ServiceLoader from the module path and from the class path. */
  @Test
  void providersAreFoundOnModulePathAndClassPath() throws Exception {
    List<Path> places = new ArrayList<>();
    for (Class<?> c :
        List.of(
            KeyDirectory.class,
            io.pgveil.linux.Posix.class,
            org.slf4j.Logger.class,
            com.fasterxml.jackson.core.JsonFactory.class)) {
      places.add(Path.of(c.getProtectionDomain().getCodeSource().getLocation().toURI()));
    }
    Assumptions.assumeTrue(
        Files.exists(places.get(0).resolve("module-info.class")), "not run from target/classes");
    ModuleFinder finder = ModuleFinder.of(places.toArray(Path[]::new));
    var configuration =
        ModuleLayer.boot()
            .configuration()
            .resolveAndBind(finder, ModuleFinder.of(), List.of("io.pgveil.keys"));
    ModuleLayer layer =
        ModuleLayer.defineModulesWithOneLoader(
                configuration, List.of(ModuleLayer.boot()), ClassLoader.getPlatformClassLoader())
            .layer();
    assertThat(types(layer.findLoader("io.pgveil.keys"))).containsExactly("file");
    List<URL> urls = new ArrayList<>();
    for (Path p : places) {
      urls.add(p.toUri().toURL());
    }
    try (URLClassLoader loader =
        // no parent but the bootstrap loader: others know the modules of this JVM
        new URLClassLoader(urls.toArray(URL[]::new), null)) {
      assertThat(types(loader)).containsExactly("file");
    }
  }

  private static List<String> types(ClassLoader loader) throws Exception {
    Class<?> factory = loader.loadClass("io.pgveil.keys.KeyProviderFactory");
    assertThat(factory.getClassLoader()).isSameAs(loader);
    List<String> types = new ArrayList<>();
    var services = new ArrayList<Object>();
    ServiceLoader.load(factory, loader).forEach(services::add);
    for (Object service : services) {
      types.add((String) factory.getMethod("typeName").invoke(service));
    }
    return types;
  }
}
