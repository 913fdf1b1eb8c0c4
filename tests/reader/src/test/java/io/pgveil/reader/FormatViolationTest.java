package io.pgveil.reader;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.util.Arrays;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is not as specified is refused, naming place, demand and finding. */
class FormatViolationTest {
  private static void assertViolation(long offset, String expected, ThrowingCallable reading) {
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(reading)
        .satisfies(
            violation -> {
              assertThat(violation.offset()).isEqualTo(offset);
              assertThat(violation.expected()).contains(expected);
              assertThat(violation.getMessage()).contains(violation.file(), violation.found());
            });
  }

  private static byte[] with(byte[] content, int at, int value) {
    byte[] changed = content.clone();
    changed[at] = (byte) value;
    return changed;
  }

  @Test
  void relationKeyFile() throws IOException {
    byte[] content = Golden.bytes("stored/pg_tde/16385_keys");
    assertViolation(
        0,
        "magic of a relation key file",
        () -> RelationKeyFile.parse("16385_keys", with(content, 3, 5)));
    assertViolation(
        0,
        "magic of a relation key file",
        () -> RelationKeyFile.parse("16385_keys", Golden.bytes("stored/pg_tde/wal_keys")));
    assertViolation(
        8, "database OID 16386", () -> RelationKeyFile.parse("dir/16386_keys", content));
    assertViolation(0, "<dbOid>_keys", () -> RelationKeyFile.parse("16385_keys.r", content));
    assertViolation(
        200, "header", () -> RelationKeyFile.parse("16385_keys", Arrays.copyOf(content, 200)));
    assertViolation(
        416, "cipher", () -> RelationKeyFile.parse("16385_keys", with(content, 416, 2)));
    assertViolation(
        428, "entry type", () -> RelationKeyFile.parse("16385_keys", with(content, 428, 2)));
    assertViolation(
        320,
        "no entries",
        () -> RelationKeyFile.parse("1663_keys", with(with(content, 8, 0x7f), 9, 0x06)));
    assertViolation(
        420, "empty entry", () -> RelationKeyFile.parse("16385_keys", with(content, 428, 0)));
  }

  @Test
  void relationKeyFileWithoutWholeContent() throws IOException {
    RelationKeyFile empty = RelationKeyFile.parse("-5_keys", new byte[0]);
    assertThat(empty.databaseId()).isEqualTo(0xFFFF_FFFBL);
    assertThat(empty.keyInfo()).isNull();
    byte[] content = Golden.bytes("stored/pg_tde/16385_keys");
    byte[] cut = Arrays.copyOf(content, content.length - 1);
    assertThat(RelationKeyFile.parse("16385_keys", cut).trailing()).isEqualTo(95);
  }

  @Test
  void walKeyFile() throws IOException {
    byte[] content = Golden.bytes("stored/pg_tde/wal_keys");
    assertViolation(
        0, "magic of a WAL key file", () -> WalKeyFile.parse("wal_keys", with(content, 3, 3)));
    assertViolation(
        8, "database OID 1664", () -> WalKeyFile.parse("wal_keys", with(content, 8, 0)));
    assertViolation(324, "range type", () -> WalKeyFile.parse("wal_keys", with(content, 324, 3)));
    assertViolation(
        410, "behind the wrapped key", () -> WalKeyFile.parse("wal_keys", with(content, 410, 1)));
    // The second range now starts before the first.
    assertViolation(
        424, "does not start before", () -> WalKeyFile.parse("wal_keys", with(content, 434, 0)));
  }

  /** An INVALID range is skipped with its stale tag; a range without a start too. */
  @Test
  void skippedRanges() throws IOException {
    byte[] content = Golden.bytes("stored/pg_tde/wal_keys");
    content[424 + 4] = 0;
    Arrays.fill(content, 632 + 8, 632 + 24, (byte) 0);
    WalKeyFile file = WalKeyFile.parse("wal_keys", content);
    Secret key = Golden.key("fx-server-key-2");
    assertThat(file.ranges(key))
        .extracting(range -> range.start().toString())
        .containsExactly("1:0/AEC000", "1:0/D44000");
    assertViolation(424, "tag", () -> file.entries().get(1).unwrap(key));
    assertThat(file.entries().get(3).unwrap(key).size()).isEqualTo(16);
  }

  @Test
  void keyring() throws IOException {
    byte[] content = Golden.bytes("keyring-local.file");
    assertViolation(291, "292", () -> Keyring.parse("k", Arrays.copyOf(content, 291)));
    assertViolation(288, "key length", () -> Keyring.parse("k", with(content, 288, 24)));
    assertViolation(272, "behind the key", () -> Keyring.parse("k", with(content, 280, 1)));
    assertViolation(255, "behind the NUL", () -> Keyring.parse("k", with(content, 255, 1)));
    assertViolation(0, "key name", () -> Keyring.parse("k", new byte[292]));
  }

  @Test
  void providerFile() throws IOException {
    String name = "1664_providers";
    byte[] content = Golden.bytes("stored/pg_tde/" + name);
    assertViolation(0, "positive", () -> ProviderFile.parse("5_providers", content));
    assertViolation(1156, "type", () -> ProviderFile.parse(name, with(content, 1156, 4)));
    assertViolation(132, "\"tokenPath\"", () -> ProviderFile.parse(name, with(content, 1156, 2)));
    assertViolation(132, "'{'", () -> ProviderFile.parse(name, with(content, 132, '[')));
    assertViolation(4, "deleted provider", () -> ProviderFile.parse(name, with(content, 1156, 0)));
    assertViolation(1159, "records", () -> ProviderFile.parse(name, Arrays.copyOf(content, 1159)));
    byte[] twice = Arrays.copyOf(content, 2320);
    System.arraycopy(content, 0, twice, 1160, 1160);
    assertViolation(1160, "id of its own", () -> ProviderFile.parse(name, twice));
    assertViolation(1164, "name of its own", () -> ProviderFile.parse(name, with(twice, 0, 0xfe)));
    byte[] deleted = new byte[1160];
    Arrays.fill(deleted, 0, 4, (byte) 0xff);
    assertThat(ProviderFile.parse(name, deleted).find(-1)).isEmpty();
  }

  @Test
  void keysVersion() {
    byte[] old = {0x54, 0x44, 0x45, 3, 0x57, 0x45, 0x4b, 1};
    assertViolation(0, "54 44 45 04", () -> KeysVersion.parse("keys_version", old));
    old[3] = 4;
    assertViolation(4, "57 45 4b 02", () -> KeysVersion.parse("keys_version", old));
    assertViolation(7, "8 bytes", () -> KeysVersion.parse("keys_version", Arrays.copyOf(old, 7)));
  }

  @Test
  void pages() throws IOException {
    byte[] clear = Golden.bytes("clear/base/16385/16632");
    assertThat(PageChecksum.stored(clear)).isEqualTo(PageChecksum.compute(clear, 0));
    assertViolation(
        8192 + 8, "of block 1", () -> PageChecksum.check("f", Golden.flipped(clear, 16000), 0));
    // A page is bound to its block number.
    assertViolation(8, "of block 131072", () -> PageChecksum.check("f", clear, 1));
    Secret key = Secret.of(new byte[16]);
    Bytes iv = Bytes.of(new byte[16]);
    assertViolation(
        8192,
        "whole pages",
        () -> Pages.decrypt("f", new byte[9000], key, iv, Fork.MAIN, 0, ReadAs.PGVEIL));
  }

  /** 32 zero bytes make a page clear for pg_tde, all 8192 for pgveil. */
  @ParameterizedTest
  @CsvSource({"31, 0, 0", "32, 1, 0", "8191, 1, 0", "8192, 1, 1"})
  void zeroPages(int zeros, int rawForPgTde, int rawForPgveil) {
    byte[] page = new byte[8192];
    Arrays.fill(page, zeros, page.length, (byte) 1);
    Secret key = Secret.of(new byte[16]);
    Bytes iv = Bytes.of(new byte[16]);
    assertThat(Pages.decrypt("f", page, key, iv, Fork.MAIN, 0, ReadAs.PG_TDE).raw())
        .isEqualTo(rawForPgTde);
    assertThat(Pages.decrypt("f", page, key, iv, Fork.MAIN, 0, ReadAs.PGVEIL).raw())
        .isEqualTo(rawForPgveil);
  }

  @Test
  void secretsAreNotShown() throws IOException {
    assertThat(Golden.keyring().toString())
        .contains("fx-db-key-2", "Secret[16 bytes]")
        .doesNotContain("fbaf597b");
  }
}
