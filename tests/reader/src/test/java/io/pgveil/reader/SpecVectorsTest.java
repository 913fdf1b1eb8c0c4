package io.pgveil.reader;

import static io.pgveil.reader.Golden.counting;
import static io.pgveil.reader.Golden.hex;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The test vectors of spec 7, all of them. */
class SpecVectorsTest {
  private static final Bytes BASE_IV = Bytes.of(counting(0xf0, 16));
  private static final byte[] ENTRY_IV = counting(0x20, 16);
  private static final byte[] SIGN_IV = counting(0x10, 16);

  private static Secret key(String name) {
    return switch (name) {
      case "K128" -> Secret.of(counting(0, 16));
      case "K256" -> Secret.of(counting(0, 32));
      case "P128" -> Secret.of(counting(0x40, 16));
      case "P256" -> Secret.of(counting(0x40, 32));
      default -> throw new IllegalArgumentException(name);
    };
  }

  /** Spec 7.1; the page is encrypted here with the IV of the table and decrypted by the reader. */
  @ParameterizedTest
  @CsvSource({
    "K128, MAIN, 0, f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff, 29c99ea986fa95edf1f01a6a9ba4b1f9,"
        + "af9be9ebfbdf356c8896323799c03356,"
        + "5adb889a49ec5f15cfd84154e20f06bbda6c0d1b8dde58305a46d2bbdb0daf9b",
    "K128, FSM, 3, f0f1f2f3f4f5f6f6f8f9fafbfcfdfefc, 4e503880a808f53d39cc61a7204dcf3f,"
        + "d07c8358177e3f4d658da409ca888d53,"
        + "18aaa9e41bb097e15ecc2f553b457be7d32c31beeaa0c52ed036ced374104b8e",
    "K128, MAIN, 0x01020304, f0f1f2f3f4f5f6f7f8f9fafbfdfffdfb, 9c66748b7739fbc1486ba7d32e8df9af,"
        + "976a508018cddf3eea2a2fe63d11ca12,"
        + "f088c98af8c74ad57e02b722b7ecff02e4e8ecb7536971fa121ff9f322a30299",
    "K128, INIT, 0x01020304, f0f1f2f3f4f5f6f7f8f9fafbfdfffdfb, 9c66748b7739fbc1486ba7d32e8df9af,"
        + "976a508018cddf3eea2a2fe63d11ca12,"
        + "f088c98af8c74ad57e02b722b7ecff02e4e8ecb7536971fa121ff9f322a30299",
    "K256, MAIN, 0, f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff, 9bc5af02a51b5fc458a4423e83c18f18,"
        + "c568ee07617a537f18ad19f3dea8a6f3,"
        + "a445a4bb7027819329b8ac5e8a0e8f0f0a7450fa68373795e74edea53374c787",
    "K256, FSM, 3, f0f1f2f3f4f5f6f6f8f9fafbfcfdfefc, 93908988295c0d4d3b8f14f8b573f1f1,"
        + "560828bc5d807bca156a391c14392027,"
        + "df65b20f2ee62c8ae79bfbe9b2abe6a4880518aa2d3229a9b8b12da51815168f",
  })
  void pages(
      String key, Fork fork, String block, String iv, String first, String last, String sha256)
      throws Exception {
    byte[] clear = new byte[8192];
    for (int i = 0; i < clear.length; i++) {
      clear[i] = (byte) ((7 * i + 3) % 251);
    }
    assertThat(sha256(clear))
        .isEqualTo("c476a00d8b74e4d2fe350d8447e37bb4e0da1b30b0944db5f818b23b7df3c911");
    Cipher cbc = Cipher.getInstance("AES/CBC/NoPadding");
    cbc.init(
        Cipher.ENCRYPT_MODE,
        new SecretKeySpec(key(key).toArray(), "AES"),
        new IvParameterSpec(hex(iv)));
    byte[] page = cbc.doFinal(clear);
    assertThat(Bytes.of(Arrays.copyOf(page, 16))).hasToString(first);
    assertThat(Bytes.of(Golden.slice(page, 8176, 16))).hasToString(last);
    assertThat(sha256(page)).isEqualTo(sha256);

    // The block must be found where a relation file has it: behind the blocks of its segment.
    int number = Integer.decode(block);
    int segment = number / Pages.PER_SEGMENT;
    int before = number % Pages.PER_SEGMENT;
    assertThat(Bytes.of(Pages.iv(BASE_IV, fork, number))).hasToString(iv);
    if (before < 1000) {
      byte[] file = new byte[(before + 1) * Pages.SIZE];
      System.arraycopy(page, 0, file, before * Pages.SIZE, Pages.SIZE);
      Pages.Decrypted decrypted =
          Pages.decrypt("16385", file, key(key), BASE_IV, fork, segment, ReadAs.PG_TDE);
      assertThat(decrypted.raw()).isEqualTo(before);
      assertThat(decrypted.encrypted()).isEqualTo(1);
      assertThat(Golden.slice(decrypted.clear().toArray(), before * Pages.SIZE, Pages.SIZE))
          .isEqualTo(clear);
    }
  }

  /** Spec 7.2. */
  @ParameterizedTest
  @CsvSource({
    "K128, 1, 0x5, 0, f0f2f2f3f4f5f6f7f8f9faff, 5623ae75ecd9b5d79d8065fb9a7a5da6",
    "K128, 1, 0x5, 8208, f0f2f2f3f4f5f6f7f8f9faff, 80b51e3811a4b2d3df1b79e3e15852b1",
    "K128, 1, 0x5, 8211, f0f2f2f3f4f5f6f7f8f9faff, 3811a4b2d3df1b79e3e15852b1cf18f22c3f8a68",
    "K128, 2, 0x5, 0, f0f3f2f3f4f5f6f7f8f9faff, 367928997cfd9b62ae67a1448f718555",
    "K128, 65537, 0xFFFFFFFFF, 16777200, f0f2f2f3f4f5f707f8f9faf9,"
        + "720cfe73fb4d6553368daa5899011d9e",
    "K256, 1, 0x5, 0, f0f2f2f3f4f5f6f7f8f9faff, 32155c84c7f5e6a04489b069af68ef57",
    "K256, 1, 0x5, 8211, f0f2f2f3f4f5f6f7f8f9faff, 60b5ef775d892b6327a8a0aa4d723f3cf0025b07",
    "K256, 65537, 0xFFFFFFFFF, 16777200, f0f2f2f3f4f5f707f8f9faf9,"
        + "1b1a22971bb2b5d2fd947c52905e1634",
  })
  void walKeystream(
      String key, long timeline, String segment, int offset, String prefix, String keystream) {
    Bytes expected = Bytes.ofHex(keystream);
    long number = Long.decode(segment);
    assertThat(WalStream.counterPrefix(BASE_IV, timeline, number)).hasToString(prefix);

    WalSegmentName name = new WalSegmentName("segment", timeline, number, 16 << 20);
    WalRange all = new WalRange(new WalLocation(1, 1), WalLocation.END, true, key(key), BASE_IV);
    byte[] zeros = new byte[expected.size()];
    byte[] decrypted = WalStream.decrypt(name, offset, zeros, List.of(all), ReadAs.PG_TDE);
    assertThat(Bytes.of(decrypted)).isEqualTo(expected);
  }

  /** Spec 7.3. */
  @ParameterizedTest
  @CsvSource({
    "P128, 3fef00ce26c522c2c4e7b6654c8b27d2",
    "P256, 86eca4cd62242d810cace4052825134e",
  })
  void headerSignature(String key, String tag) throws Exception {
    byte[] header = header("54444504", 16384, tag);
    byte[] info = Golden.slice(header, 8, 280);
    assertThat(Arrays.copyOf(info, 40))
        .isEqualTo(
            hex(
                "00400000 feffffff 00f1536500000000 40e2010000000000"
                    + "746573742d64622d6b65790000000000"));
    assertThat(sha256(info))
        .isEqualTo("88b059f6cdd49fcc1b924e1e67d7a743ce6078eb6abe2f1e0eb2c1237f38da4e");

    SignedKeyInfo read = keyInfo(header);
    assertThat(read.databaseId()).isEqualTo(16384);
    assertThat(read.keyringId()).isEqualTo(-2);
    assertThat(read.seconds()).isEqualTo(1700000000);
    assertThat(read.microseconds()).isEqualTo(123456);
    assertThat(read.name()).isEqualTo("test-db-key");
    assertThat(read.signIv()).isEqualTo(Bytes.of(SIGN_IV));
    assertThat(read.isSignedBy(key(key))).isTrue();
    assertThat(read.isSignedBy(key(key.equals("P128") ? "P256" : "P128"))).isFalse();
    // The provider id, the last byte of the name field and the tag are all covered.
    for (int at : List.of(13, 287, 304)) {
      assertThat(keyInfo(Golden.flipped(header, at)).isSignedBy(key(key))).as("%d", at).isFalse();
    }
  }

  private static SignedKeyInfo keyInfo(byte[] keyFile) {
    SignedKeyInfo info = RelationKeyFile.parse("16384_keys", keyFile).keyInfo();
    assertThat(info).isNotNull();
    return info;
  }

  /** Spec 7.4. */
  @ParameterizedTest
  @CsvSource({
    "map v4, P128, K128, 000000007f0600000140000001000000,"
        + "41782d2a75393332c9d7da6ee697f5c4, ca73e3e9a0581161d6909fc82c59888b",
    "map v4, P256, K256, 010000007f0600000140000001000000,"
        + "be49e96b56059a370731714775eaa5ffc217740e4723ea16753ad4fbf1bb5caa,"
        + "fc6245f387210b72983f86b8c0dbab5f",
    "map v4, P128, K256, 010000007f0600000140000001000000,"
        + "41782d2a75393332c9d7da6ee697f5c498422e9040b0653d8f7404dcf9b2af70,"
        + "d410991e131170cac7f344f37a96f6e7",
    "wal v2, P128, K128, 0000000002000000,"
        + "41782d2a75393332c9d7da6ee697f5c4, 455248e086602588e23b488fa1665ff3",
    "wal v2, P256, K256, 0100000002000000,"
        + "be49e96b56059a370731714775eaa5ffc217740e4723ea16753ad4fbf1bb5caa,"
        + "61a2e1b2db1b50b6fa64b6859d2acfb6",
    "map v3, P128, K128, 7f060000014000000100000000000000,"
        + "41782d2a75393332c9d7da6ee697f5c4, 756189f46168363826870e0bfc75751d",
    "wal v1, P128, K128, 0200000000000000,"
        + "41782d2a75393332c9d7da6ee697f5c4, 448f807c1df90f2a02f47403e453fbfb",
  })
  void entryWrapping(
      String format, String principal, String internal, String aad, String wrapped, String tag) {
    byte[] file = keyFile(format, hex(aad), hex(wrapped), hex(tag));
    assertThat(unwrap(format, file, key(principal))).isEqualTo(key(internal));
    // The AAD of map entries names the relation, that of WAL entries the range type: here another
    // relation, an UNENCRYPTED range, and another unused byte of version 1.
    byte[] changed = file.clone();
    switch (format) {
      case "map v4" -> changed[320 + 8] ^= 1;
      case "map v3" -> changed[320 + 4] ^= 1;
      case "wal v2" -> changed[320 + 4] = 1;
      default -> changed[320 + 7] ^= 1;
    }
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> unwrap(format, changed, key(principal)))
        .withMessageContaining("tag");
  }

  private static Secret unwrap(String format, byte[] file, Secret principal) {
    if (format.startsWith("map")) {
      RelationKeyFile keys = RelationKeyFile.parse("16384_keys", file);
      RelationKeyFile.Entry entry = keys.keys().getFirst();
      assertThat(entry.baseIv()).isEqualTo(BASE_IV);
      assertThat(entry.entryIv()).isEqualTo(Bytes.of(ENTRY_IV));
      assertThat(entry.tablespace()).isEqualTo(1663);
      assertThat(entry.aad().size()).isEqualTo(16);
      return entry.unwrap(principal);
    }
    WalKeyFile.Entry entry = WalKeyFile.parse("wal_keys", file).entries().getFirst();
    assertThat(entry.baseIv()).isEqualTo(BASE_IV);
    assertThat(entry.start()).isEqualTo(new WalLocation(3, 0x1_2345_6000L));
    return entry.unwrap(principal);
  }

  /** A key file of one entry; every field that is no part of the vector differs from the others. */
  private static byte[] keyFile(String format, byte[] aad, byte[] wrapped, byte[] tag) {
    ByteBuffer entry = ByteBuffer.allocate(format.equals("wal v2") ? 104 : 96);
    entry.order(ByteOrder.LITTLE_ENDIAN).put(aad);
    byte[] baseIv = BASE_IV.toArray();
    byte[] header =
        switch (format) {
          case "map v4" -> {
            entry.put(ENTRY_IV).put(tag).put(baseIv).put(wrapped);
            yield header("54444504", 16384, "00".repeat(16));
          }
          case "map v3" -> {
            entry.put(wrapped).put(baseIv).putInt(1).position(64).put(ENTRY_IV).put(tag);
            yield header("54444503", 16384, "00".repeat(16));
          }
          case "wal v2" -> {
            entry.putLong(0x1_2345_6000L).putInt(3).putInt(0x55);
            entry.put(ENTRY_IV).put(tag).put(baseIv).put(wrapped);
            yield header("57454b02", 1664, "00".repeat(16));
          }
          case "wal v1" -> {
            entry.put(wrapped).put(baseIv).putInt(2).putInt(0x77);
            entry.putLong(0x1_2345_6000L).putInt(3).putInt(0x55).put(ENTRY_IV).put(tag);
            yield header("57454b01", 1664, "00".repeat(16));
          }
          default -> throw new IllegalArgumentException(format);
        };
    byte[] file = Arrays.copyOf(header, 320 + entry.capacity());
    System.arraycopy(entry.array(), 0, file, 320, entry.capacity());
    return file;
  }

  /** A header of 320 bytes with the info of spec 7.3. */
  private static byte[] header(String magic, int databaseId, String tag) {
    ByteBuffer header = ByteBuffer.allocate(320).order(ByteOrder.LITTLE_ENDIAN);
    header.put(hex(magic)).putInt(0x155);
    header.putInt(databaseId).putInt(-2).putLong(1700000000L).putLong(123456L);
    header.put(Aes.ascii("test-db-key"));
    header.position(288).put(SIGN_IV).put(hex(tag));
    return header.array();
  }

  private static String sha256(byte[] bytes) throws Exception {
    return Bytes.of(MessageDigest.getInstance("SHA-256").digest(bytes)).toString();
  }
}
