package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.ciphers.SealedHeader.Invalid;
import io.pgveil.ciphers.SealedHeader.Reason;
import io.pgveil.ciphers.SealedHeader.Result;
import io.pgveil.ciphers.SealedHeader.Valid;
import java.util.Arrays;
import java.util.function.Consumer;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class SealedHeaderTest {
  private static final byte[] SEAL_KEY = Testing.counting(0x60, 32);
  private static final byte[] FILE_ID = Testing.counting(0xa0, 16);
  private static final byte[] SEAL_KEY_ID = Testing.counting(0xc0, 16);

  /** RFC 5869, test case 1, the expand step. */
  @Test
  void hkdfExpandIsThatOfRfc5869() {
    byte[] prk = Testing.hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    assertThat(Testing.hex(SealedKeys.expand(prk, Testing.hex("f0f1f2f3f4f5f6f7f8f9"), 42)))
        .isEqualTo(
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  }

  /** Computed with Python's cryptography and hmac from the layout, not by this code. */
  @Test
  void goldenKeysAndHeader() {
    assertThat(Testing.hex(SealedKeys.fileKey(SEAL_KEY, SealedHeader.AES_256_XTS, FILE_ID)))
        .isEqualTo(
            "84c086ad44a8bbadcc118f8dfcf2e69656f69aa6756414238f815bf8927a6e25"
                + "4a8bab610f496ac9b8cd8aea733a7d9d5bd03be3783d97cb769eb4a579285504");
    assertThat(Testing.hex(SealedKeys.headerKey(SEAL_KEY)))
        .isEqualTo("116d87f2938afd7a25bb35882630cecc0d57b93e2bef089c17209c58c7ecfca7");
    byte[] header = header();
    assertThat(Testing.hex(header, 0, 128))
        .isEqualTo(
            "5047565345414c010109000000100000000200000000000000000000"
                + "00000000c0c1c2c3c4c5c6c7c8c9cacbcccdcecfa0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
                + "0000000000000000000000000000000000000000000000000000000000000000"
                + "ccbadf4e739f9763aeb1a1396faa1f777391ebd26198f6872d1e323359e13e2b");
    assertThat(Testing.sha256(header))
        .isEqualTo("3e499901494257617d3c17222974fdd4f982e2d5894904bce0ef7b8932096e80");
  }

  @Test
  void readsWhatItMade() {
    Valid valid = (Valid) parse(header());
    assertThat(valid.copy()).isEqualTo(1);
    assertThat(valid.header().cipher()).isEqualTo(1);
    assertThat(valid.header().sealKeyId()).isEqualTo(SEAL_KEY_ID);
    assertThat(valid.header().fileId()).isEqualTo(FILE_ID);
  }

  @Test
  void everyByteUpToTheMacIsProtectedAndTheSecondCopyStepsIn() {
    for (int i = 0; i < 128; i++) {
      byte[] header = header();
      header[i] ^= 0x10;
      assertThat(parse(header)).as("byte %d", i).isInstanceOf(Valid.class);
      assertThat(((Valid) parse(header)).copy()).as("byte %d", i).isEqualTo(2);
      header[3584 + i] ^= 0x10;
      assertThat(parse(header)).as("byte %d", i).isInstanceOf(Invalid.class);
    }
  }

  @Test
  void anyTornSubsetOfItsSectorsIsValidOrRefused() {
    for (int mask = 0; mask < 256; mask++) {
      byte[] header = header();
      for (int sector = 0; sector < 8; sector++) {
        if ((mask >> sector & 1) == 0) {
          Arrays.fill(header, sector * 512, (sector + 1) * 512, (byte) 0);
        }
      }
      assertThat(parse(header) instanceof Valid).isEqualTo((mask & 0x81) != 0);
    }
  }

  @Test
  void saysWhy() {
    assertThat(reason(new byte[4095])).isEqualTo(Reason.TRUNCATED);
    assertThat(reason(new byte[4096])).isEqualTo(Reason.NO_MAGIC);
    assertThat(reason(both(h -> h[100] ^= 1))).isEqualTo(Reason.BAD_MAC);
    assertThat(reason(both(h -> h[40] ^= 1))).isEqualTo(Reason.UNKNOWN_SEAL_KEY);
    assertThat(reason(both(h -> h[7] = 2))).isEqualTo(Reason.UNSUPPORTED);
    byte[] garbledFirst = both(h -> h[100] ^= 1);
    garbledFirst[0] = 0;
    assertThat(reason(garbledFirst)).as("the copy that got further").isEqualTo(Reason.BAD_MAC);

    Invalid unknown = (Invalid) SealedHeader.parse(header(), id -> null);
    assertThat(unknown.reason()).isEqualTo(Reason.UNKNOWN_SEAL_KEY);
    assertThat(unknown.message()).contains(Testing.hex(SEAL_KEY_ID));
    Invalid otherKey = (Invalid) SealedHeader.parse(header(), id -> new byte[32]);
    assertThat(otherKey.reason()).isEqualTo(Reason.BAD_MAC);
  }

  /** An authentic header of a later version: refused, not misread. */
  @Test
  void unknownFieldsAreRefused() {
    for (int field : new int[] {8, 9, 10, 11, 12, 16, 20, 31, 64, 95}) {
      byte[] later =
          both(
              h -> {
                h[field] ^= 4;
                System.arraycopy(mac(h), 0, h, 96, 32);
              });
      assertThat(reason(later)).as("byte %d", field).isEqualTo(Reason.UNSUPPORTED);
    }
  }

  @Test
  void leavesTheKeysOfOthersAlone() {
    byte[] key = SEAL_KEY.clone();
    byte[] header = SealedHeader.create(SEAL_KEY_ID, FILE_ID, key);
    assertThat(SealedHeader.parse(header, id -> key)).isInstanceOf(Valid.class);
    assertThat(key).isEqualTo(SEAL_KEY);
  }

  @Test
  void refusesBadArguments() {
    assertThatThrownBy(() -> SealedHeader.create(new byte[15], FILE_ID, SEAL_KEY))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> SealedHeader.create(SEAL_KEY_ID, new byte[17], SEAL_KEY))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> SealedHeader.create(SEAL_KEY_ID, FILE_ID, new byte[16]))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> SealedKeys.fileKey(SEAL_KEY, 2, FILE_ID))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private static byte[] header() {
    return SealedHeader.create(SEAL_KEY_ID, FILE_ID, SEAL_KEY);
  }

  private static byte[] both(Consumer<byte[]> change) {
    byte[] header = header();
    byte[] copy = Arrays.copyOf(header, 512);
    change.accept(copy);
    System.arraycopy(copy, 0, header, 0, 512);
    System.arraycopy(copy, 0, header, 3584, 512);
    return header;
  }

  private static byte[] mac(byte[] header) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(SealedKeys.headerKey(SEAL_KEY), "HmacSHA256"));
      mac.update(header, 0, 96);
      return mac.doFinal();
    } catch (java.security.GeneralSecurityException e) {
      throw new AssertionError(e);
    }
  }

  private static Result parse(byte[] header) {
    return SealedHeader.parse(header, SealedHeaderTest::lookup);
  }

  private static Reason reason(byte[] header) {
    return ((Invalid) parse(header)).reason();
  }

  private static byte @Nullable [] lookup(byte[] id) {
    return Arrays.equals(id, SEAL_KEY_ID) ? SEAL_KEY.clone() : null;
  }
}
