package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The vectors of pg_tde-format 7.3 and 7.4. */
class GoldenVectorsTest {
  private static final SecureRandom RANDOM = new SecureRandom();

  @ParameterizedTest
  @CsvSource({"128, 3fef00ce26c522c2c4e7b6654c8b27d2", "256, 86eca4cd62242d810cace4052825134e"})
  void headerSignature(int bits, String tag) throws Exception {
    byte[] file = new byte[320];
    try (KeyWrap key = new KeyWrap(bits == 128 ? Hex.P128 : Hex.P256, RANDOM)) {
      SignedHeader.sign(
              16384,
              -2,
              KeyName.of("test-db-key"),
              Instant.ofEpochSecond(1700000000, 123456000),
              key,
              Hex.SIGN_IV)
          .write(file, 8);
      assertThat(Hex.at(file, 8, 40))
          .isEqualTo(
              "00400000feffffff00f153650000000040e2010000000000746573742d64622d6b65790000000000");
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(Arrays.copyOfRange(file, 8, 288));
      assertThat(Hex.at(digest, 0, 32))
          .isEqualTo("88b059f6cdd49fcc1b924e1e67d7a743ce6078eb6abe2f1e0eb2c1237f38da4e");
      assertThat(Hex.at(file, 288, 16)).isEqualTo("101112131415161718191a1b1c1d1e1f");
      assertThat(Hex.at(file, 304, 16)).isEqualTo(tag);
      assertThat(SignedHeader.read(file, 8)).isNotNull().matches(h -> h.isSignedBy(key));
    }
    try (KeyWrap other = new KeyWrap(Hex.K128, RANDOM)) {
      assertThat(SignedHeader.read(file, 8)).isNotNull().matches(h -> !h.isSignedBy(other));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "RELATION_4, 128, 128, 000000007f0600000140000001000000, 41782d2a75393332c9d7da6ee697f5c4,"
        + " ca73e3e9a0581161d6909fc82c59888b",
    "RELATION_4, 256, 256, 010000007f0600000140000001000000,"
        + " be49e96b56059a370731714775eaa5ffc217740e4723ea16753ad4fbf1bb5caa,"
        + " fc6245f387210b72983f86b8c0dbab5f",
    "RELATION_4, 128, 256, 010000007f0600000140000001000000,"
        + " 41782d2a75393332c9d7da6ee697f5c498422e9040b0653d8f7404dcf9b2af70,"
        + " d410991e131170cac7f344f37a96f6e7",
    "WAL_2, 128, 128, 0000000002000000, 41782d2a75393332c9d7da6ee697f5c4,"
        + " 455248e086602588e23b488fa1665ff3",
    "WAL_2, 256, 256, 0100000002000000,"
        + " be49e96b56059a370731714775eaa5ffc217740e4723ea16753ad4fbf1bb5caa,"
        + " 61a2e1b2db1b50b6fa64b6859d2acfb6",
    "RELATION_3, 128, 128, 7f060000014000000100000000000000,"
        + " 41782d2a75393332c9d7da6ee697f5c4, 756189f46168363826870e0bfc75751d",
    "WAL_1, 128, 128, 0200000000000000, 41782d2a75393332c9d7da6ee697f5c4,"
        + " 448f807c1df90f2a02f47403e453fbfb",
  })
  void entryWrapping(
      EntryLayout layout, int principalBits, int bits, String aad, String wrapped, String tag) {
    byte[] internal = bits == 128 ? Hex.K128 : Hex.K256;
    byte[] entry = new byte[layout.size];
    byte[] a = Hex.of(aad);
    System.arraycopy(a, 0, entry, 0, a.length);
    try (KeyWrap key = new KeyWrap(principalBits == 128 ? Hex.P128 : Hex.P256, RANDOM)) {
      key.wrap(layout, entry, 0, internal, Hex.ENTRY_IV);
      assertThat(layout.aadSize).isEqualTo(a.length);
      assertThat(Hex.at(entry, layout.wrappedAt, internal.length)).isEqualTo(wrapped);
      assertThat(Hex.at(entry, layout.tagAt, 16)).isEqualTo(tag);
      assertThat(Hex.at(entry, layout.ivAt, 16)).isEqualTo("202122232425262728292a2b2c2d2e2f");
      assertThat(key.unwrap(layout, entry, 0, internal.length)).isEqualTo(internal);
      entry[a.length - 1] ^= 1;
      assertThat(key.unwrap(layout, entry, 0, internal.length)).isNull();
    }
  }

  @Test
  void aClosedWrapHasForgottenItsKey() {
    byte[] entry = new byte[96];
    KeyWrap key = new KeyWrap(Hex.P128, RANDOM);
    key.wrap(EntryLayout.RELATION_4, entry, 0, Hex.K128);
    key.close();
    assertThat(key.unwrap(EntryLayout.RELATION_4, entry, 0, 16)).isNull();
  }
}
