package io.pgveil.reader;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The golden files of a real pg_tde server; what they must say is in golden/README.md. */
class GoldenTest {
  private static final WalSegmentName SEGMENT =
      WalSegmentName.parse("00000001000000000000000D", 1 << 20).orElseThrow();
  private static final int PART = 0x42000;

  @Test
  void keyrings() throws IOException {
    assertThat(Golden.keyring().keys())
        .extracting(Keyring.Key::name)
        .containsExactly(
            "fx-default-key-1",
            "fx-server-key-1",
            "fx-db-key-1",
            "fx-server-key-2",
            "fx-db-key-2",
            "fx-default-key-2");
    assertThat(Golden.keyring().find("FX-DB-key-2"))
        .contains(Secret.of(Golden.hex("fbaf597b03baf93ae8cce8ef6979e39b")));
    assertThat(Golden.keyring().find("fx-db-key-3")).isEmpty();
  }

  @Test
  void providers() throws IOException {
    ProviderFile global =
        ProviderFile.parse("1664_providers", Golden.bytes("stored/pg_tde/1664_providers"));
    assertThat(global.providers())
        .containsExactly(
            new ProviderFile.Provider(
                -1,
                "fx-global-file",
                "{\"path\" : \"/srv/fx/fx-aes128/keyring.file\"}",
                Map.of("path", "/srv/fx/fx-aes128/keyring.file"),
                ProviderFile.Type.FILE));
    ProviderFile local =
        ProviderFile.parse("16386_providers", Golden.bytes("stored/pg_tde/16386_providers"));
    assertThat(local.find(1).orElseThrow().name()).isEqualTo("fx-local-file");
  }

  @Test
  void keysVersion() throws IOException {
    KeysVersion version =
        KeysVersion.parse("keys_version", Golden.bytes("stored/pg_tde/keys_version"));
    assertThat(version.relationMagic()).isEqualTo(KeysVersion.RELATION_KEYS);
    assertThat(version.walMagic()).isEqualTo(KeysVersion.WAL_KEYS);
  }

  @ParameterizedTest
  @CsvSource({
    "16384_keys, keyring.file, fx-db-key-2, -1, 29, 25",
    "16385_keys, keyring.file, fx-default-key-2, -1, 4, 4",
    "16386_keys, keyring-local.file, fx-local-key-1, 1, 4, 4",
    "1663_keys, keyring.file, fx-default-key-2, -1, 0, 0",
  })
  void relationKeys(
      String name, String keyring, String keyName, int provider, int entries, int keys)
      throws IOException {
    Secret key = Keyring.parse(keyring, Golden.bytes(keyring)).find(keyName).orElseThrow();
    RelationKeyFile file = Golden.relationKeys(name);
    assertThat(file.version()).isEqualTo(4);
    assertThat(file.trailing()).isZero();
    SignedKeyInfo info = file.keyInfo();
    assertThat(info).isNotNull();
    assertThat(info.name()).isEqualTo(keyName);
    assertThat(info.keyringId()).isEqualTo(provider);
    assertThat(info.isSignedBy(key)).isTrue();
    assertThat(file.entries()).hasSize(entries);
    assertThat(file.keys()).hasSize(keys);
    for (RelationKeyFile.Entry entry : file.keys()) {
      assertThat(entry.unwrap(key).size()).isEqualTo(16);
      assertThat(entry.tablespace()).isIn(1663L, 16435L);
    }
  }

  @Test
  void walKeys() throws IOException {
    WalKeyFile file = Golden.walKeys();
    Secret key = Golden.key("fx-server-key-2");
    assertThat(file.version()).isEqualTo(2);
    assertThat(file.trailing()).isZero();
    SignedKeyInfo info = file.keyInfo();
    assertThat(info).isNotNull();
    assertThat(info.isSignedBy(key)).isTrue();
    assertThat(info.isSignedBy(Golden.key("fx-server-key-1"))).isFalse();
    List<WalRange> ranges = file.ranges(key);
    assertThat(ranges)
        .extracting(range -> range.start() + " " + range.encrypted())
        .containsExactly(
            "1:0/AEC000 true", "1:0/D2A000 true", "1:0/D44000 false", "1:0/D48000 true");
    assertThat(ranges.get(1).end()).isEqualTo(ranges.get(2).start());
    assertThat(ranges.getLast().end()).isEqualTo(WalLocation.END);
  }

  @ParameterizedTest
  @CsvSource({
    "base/16385/16632, fx-default-key-2, 2",
    "base/16384/16743_vm, fx-db-key-2, 1",
    "base/16384/16777_init, fx-db-key-2, 1",
  })
  void pages(String path, String principalKey, int pages) throws IOException {
    RelationFile what = RelationFile.parse(path).orElseThrow();
    RelationKeyFile keys = Golden.relationKeys(what.database() + "_keys");
    RelationKeyFile.Entry entry = keys.find(what.tablespace(), what.relation()).orElseThrow();
    byte[] stored = Golden.bytes("stored/" + path);
    for (ReadAs as : ReadAs.values()) {
      Pages.Decrypted decrypted =
          Pages.decrypt(
              path,
              stored,
              entry.unwrap(Golden.key(principalKey)),
              entry.baseIv(),
              what.fork(),
              what.segment(),
              as);
      assertThat(decrypted.clear()).isEqualTo(Bytes.of(Golden.bytes("clear/" + path)));
      assertThat(decrypted.encrypted()).isEqualTo(pages);
      assertThat(PageChecksum.check(path, decrypted.clear().toArray(), what.segment()))
          .isEqualTo(new PageChecksum.Checked(pages, 0));
    }
  }

  @Test
  void walAcrossRanges() throws IOException {
    List<WalRange> ranges = Golden.walKeys().ranges(Golden.key("fx-server-key-2"));
    byte[] stored = Golden.bytes("stored/pg_wal/" + SEGMENT.name() + "-from-42000");
    byte[] clear = Golden.bytes("clear/pg_wal/" + SEGMENT.name() + "-from-42000");
    assertThat(WalStream.decrypt(SEGMENT, PART, stored, ranges, ReadAs.PG_TDE)).isEqualTo(clear);
    // Two pages of the four are encrypted; pg_tde left no word of zeros in them.
    assertThat(WalStream.decrypt(SEGMENT, PART, stored, ranges, ReadAs.PGVEIL)).isEqualTo(clear);
    assertThat(Golden.slice(stored, 0x2000, 0x4000)).isEqualTo(Golden.slice(clear, 0x2000, 0x4000));
    assertThat(Golden.slice(stored, 0x6000, 8)).isNotEqualTo(Golden.slice(clear, 0x6000, 8));

    byte[] segment = new byte[1 << 20];
    System.arraycopy(clear, 0, segment, PART, clear.length);
    for (int at = PART; at < PART + clear.length; at += WalPages.SIZE) {
      WalPages.Header header = WalPages.header(SEGMENT, segment, at);
      assertThat(header.major()).isEqualTo(18);
      assertThat(header.pageLsn()).isEqualTo(0xD00000 + at);
      assertThat(header.timeline()).isEqualTo(1);
    }
  }
}
