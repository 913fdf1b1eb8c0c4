package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Files of every format, made by a program that shares no code with this one (see
 * golden/README.md), are read; and what is written in their place has its fields where the
 * specification wants them.
 */
class GoldenFilesTest {
  @TempDir Path root;

  private static void isKey(InternalKey key, byte[] bytes) {
    assertThat(key.copyKey()).isEqualTo(bytes);
    assertThat(key.copyBaseIv()).isEqualTo(Hex.BASE_IV);
  }

  private static InternalKey find(RelationKeys keys, int tablespace, int relation)
      throws KeyException {
    return Objects.requireNonNull(keys.find(tablespace, relation));
  }

  @Test
  void currentFilesAreRead() throws KeyException {
    Cluster cluster = new Cluster(root).golden("current");
    try (KeyDirectory d = cluster.open()) {
      Cluster.repoint(d, root.resolve("keyring"));
      RelationKeys keys = d.relationKeys(16384);
      assertThat(keys.entries())
          .containsExactly(
              new RelationKeys.Entry(1663, 16385, CipherType.AES_128),
              new RelationKeys.Entry(1663, 16386, CipherType.AES_256),
              new RelationKeys.Entry(16435, 16385, CipherType.AES_128));
      isKey(find(keys, 1663, 16385), Hex.K128);
      isKey(find(keys, 1663, 16386), Hex.K256);
      isKey(find(keys, 16435, 16385), Hex.K128);
      assertThat(keys.find(1663, 16387)).isNull();

      assertThat(d.walKeys().ranges())
          .containsExactly(
              new WalRange(0, WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 0x1000000),
              new WalRange(3, WalRange.Type.UNENCRYPTED, CipherType.AES_128, 1, 0x2000000),
              new WalRange(4, WalRange.Type.ENCRYPTED, CipherType.AES_256, 2, 0x3000000));
      isKey(d.walKeys().key(d.walKeys().ranges().get(0)), Hex.K128);
      isKey(d.walKeys().key(d.walKeys().ranges().get(2)), Hex.K256);

      assertThat(d.sealKeys().activeId()).containsOnly(2).hasSize(16);
      assertThat(d.sealKeys().copyKey(d.sealKeys().activeId())).isEqualTo(Hex.sequence(0xa0, 32));
      assertThat(d.sealKeys().copyKey(new byte[16])).isNull();

      assertThat(new KeyInfo(Cluster.DB).run(d))
          .isEqualTo(
              new PrincipalKeys.Info(
                  "test-db-key", -2, "golden", Instant.ofEpochSecond(1700000000, 123456000)));
      assertThat(new ListProviders(Scope.SERVER).run(d))
          .extracting(ListProviders.Item::id, ListProviders.Item::name)
          .containsExactly(tuple(-2, "golden"));
      assertThat(new ListProviders(Cluster.DB).run(d))
          .containsExactly(
              new ListProviders.Item(1, "local", "file", "{\"path\":\"/nowhere/local\"}"));
      assertThat(d.principalKeys().fetches())
          .as("one key, one fetch, and 4 to verify")
          .isEqualTo(5);
    }
  }

  @Test
  void previousVersionsAreReadAsTheyAreWhenNothingMayBeWritten() throws KeyException {
    Cluster cluster = new Cluster(root).golden("previous");
    var before = cluster.snapshot();
    byte[] providers = before.get("1664_providers");
    Bytes.putText(
        Objects.requireNonNull(providers),
        ProviderRecord.SIZE + 132,
        1024,
        "{\"path\":\"" + root.resolve("keyring") + "\"}");
    cluster.write("1664_providers", providers);
    try (KeyDirectory d = cluster.openReadOnly()) {
      checkPrevious(d);
    }
    assertThat(cluster.content("16384_keys")).isEqualTo(before.get("16384_keys"));
    assertThat(cluster.content("wal_keys")).isEqualTo(before.get("wal_keys"));
  }

  @Test
  void previousVersionsAreMigratedWhenOpened() throws KeyException {
    Cluster cluster = new Cluster(root).golden("previous");
    byte[] providers = cluster.content("1664_providers");
    Bytes.putText(
        providers,
        ProviderRecord.SIZE + 132,
        1024,
        "{\"path\":\"" + root.resolve("keyring") + "\"}");
    cluster.write("1664_providers", providers);
    for (int i = 0; i < 2; i++) {
      try (KeyDirectory d = cluster.open()) {
        checkPrevious(d);
      }
    }
    assertThat(Hex.at(cluster.content("16384_keys"), 0, 8)).isEqualTo("5444450400000000");
    assertThat(cluster.content("16384_keys")).as("empty entries are dropped").hasSize(320 + 2 * 96);
    assertThat(Hex.at(cluster.content("1663_keys"), 0, 4)).isEqualTo("54444504");
    assertThat(Hex.at(cluster.content("wal_keys"), 0, 8)).isEqualTo("57454b0200000000");
    assertThat(cluster.content("wal_keys")).as("all entries are kept").hasSize(320 + 5 * 104);
    assertThat(Hex.at(cluster.content("keys_version"), 0, 8)).isEqualTo("5444450457454b02");
    assertThat(Hex.at(cluster.content("16384_keys"), 16, 16))
        .as("the key was not set anew")
        .isEqualTo("00f153650000000040e2010000000000");
  }

  private static void checkPrevious(KeyDirectory d) throws KeyException {
    RelationKeys keys = d.relationKeys(16384);
    assertThat(keys.entries())
        .containsExactly(
            new RelationKeys.Entry(1663, 16385, CipherType.AES_128),
            new RelationKeys.Entry(1663, 16386, CipherType.AES_128));
    isKey(find(keys, 1663, 16385), Hex.K128);
    isKey(find(keys, 1663, 16386), Hex.K128);
    List<WalRange> ranges = d.walKeys().ranges();
    assertThat(ranges)
        .containsExactly(
            new WalRange(0, WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 0x1000000),
            new WalRange(1, WalRange.Type.UNENCRYPTED, CipherType.AES_128, 1, 0x2000000),
            new WalRange(4, WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 0x3000000));
    for (WalRange range : ranges) {
      isKey(d.walKeys().key(range), Hex.K128);
    }
  }

  @Test
  void relationKeyFileIsWrittenAsSpecified() throws KeyException {
    Cluster cluster = new Cluster(root).made();
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Cluster.DB, "k1");
      RelationKeys keys = d.relationKeys(16384);
      InternalKey a = keys.create(1663, 0x4001, CipherType.AES_128);
      InternalKey b = keys.create(1664, 0x4002, CipherType.AES_256);
      keys.sync();
      byte[] file = cluster.content("16384_keys");
      assertThat(file).hasSize(320 + 2 * 96);
      assertThat(Hex.at(file, 0, 16)).isEqualTo("54444504" + "00000000" + "00400000" + "ffffffff");
      assertThat(Bytes.getText(file, 32, 256)).isEqualTo("k1");
      assertThat(Hex.at(file, 320, 16))
          .isEqualTo("00000000" + "7f060000" + "01400000" + "01000000");
      assertThat(Hex.at(file, 416, 16))
          .isEqualTo("01000000" + "80060000" + "02400000" + "01000000");
      byte[] principal = Objects.requireNonNull(cluster.memory.keys.get(KeyName.of("k1")));
      checkEntry(principal, file, 320, 16, a);
      checkEntry(principal, file, 416, 32, b);
      assertThat(Hex.at(file, 320 + 80, 16)).isEqualTo("00".repeat(16));
    }
  }

  /** Entry fields by the numbers of the specification, with nothing but javax.crypto. */
  private static void checkEntry(byte[] principal, byte[] file, int at, int size, InternalKey key) {
    try {
      var gcm = Cipher.getInstance("AES/GCM/NoPadding");
      gcm.init(
          Cipher.DECRYPT_MODE,
          new SecretKeySpec(principal, "AES"),
          new GCMParameterSpec(128, file, at + 16, 16));
      gcm.updateAAD(file, at, 16);
      gcm.update(file, at + 64, size);
      assertThat(gcm.doFinal(file, at + 32, 16)).isEqualTo(key.copyKey());
    } catch (GeneralSecurityException e) {
      throw new AssertionError(e);
    }
    assertThat(Hex.at(file, at + 48, 16)).isEqualTo(Hex.at(key.copyBaseIv(), 0, 16));
  }

  @Test
  void providerFileIsWrittenAsSpecified() throws KeyException {
    Cluster cluster = new Cluster(root).made();
    byte[] file = cluster.content("1664_providers");
    assertThat(file).hasSize(1160);
    assertThat(Bytes.getInt(file, 0)).isEqualTo(-1);
    assertThat(Bytes.getText(file, 4, 128)).isEqualTo("mem");
    assertThat(Bytes.getText(file, 132, 1024)).isEqualTo(Cluster.MEM_OPTIONS);
    assertThat(Bytes.getInt(file, 1156)).isEqualTo(200);
  }
}
