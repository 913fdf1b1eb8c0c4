package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WalCipherTest {
  private static final byte[] BASE_IV = Testing.counting(0xf0, 16);

  /**
   * pg_tde format, section 7.2. Its rows for timeline 65537 are what timeline 1 gives; 65537 itself
   * is refused.
   */
  @ParameterizedTest
  @CsvSource({
    "16,1,5,0,5623ae75ecd9b5d79d8065fb9a7a5da6",
    "16,1,5,8208,80b51e3811a4b2d3df1b79e3e15852b1",
    "16,1,5,8211,3811a4b2d3df1b79e3e15852b1cf18f22c3f8a68",
    "16,2,5,0,367928997cfd9b62ae67a1448f718555",
    "16,65537,0xFFFFFFFFF,16777200,720cfe73fb4d6553368daa5899011d9e",
    "32,1,5,0,32155c84c7f5e6a04489b069af68ef57",
    "32,1,5,8211,60b5ef775d892b6327a8a0aa4d723f3cf0025b07",
    "32,65537,0xFFFFFFFFF,16777200,1b1a22971bb2b5d2fd947c52905e1634",
  })
  void goldenVectors(int keySize, int tli, String segment, long offset, String expected) {
    byte[] out = new byte[expected.length() / 2];
    long segno = Long.decode(segment);
    try (WalCipher cipher = new WalCipher(Testing.counting(0, keySize), BASE_IV)) {
      if (tli > 65535) {
        assertThatThrownBy(() -> cipher.keystream(tli, segno, offset, out, 0, out.length))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("timeline 65537");
      }
      cipher.keystream(tli & 0xffff, segno, offset, out, 0, out.length);
      assertThat(Testing.hex(out)).isEqualTo(expected);
      cipher.apply(tli & 0xffff, segno, offset, out, 0, out.length);
      assertThat(out).containsOnly(0);
    }
  }

  /** The carry out of the low 64 bits and out of the 96, which no vector of the format has. */
  @Test
  void theCounterPrefixIsA96BitSum() throws Exception {
    byte[] key = Testing.counting(0, 16);
    byte[] iv = Testing.hex("ffffffffffffffffffffffffcccccccc");
    Cipher ecb = Cipher.getInstance("AES/ECB/NoPadding");
    ecb.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"));
    // 2^96 - 2 (the lowest bit is cleared) + 2 * 2^80 + 5 = 2 * 2^80 + 3 (mod 2^96); block 0x102
    byte[] expected = ecb.doFinal(Testing.hex("000200000000000000000003" + "02010000"));
    byte[] out = new byte[16];
    try (WalCipher cipher = new WalCipher(key, iv)) {
      cipher.keystream(2, 5, 0x1020, out, 0, 16);
    }
    assertThat(out).isEqualTo(expected);
  }

  @Property(tries = 100)
  void anyPartOfTheStreamIsTheSame(
      @ForAll @LongRange(max = 0xFFFFFFFFFL) long segno,
      @ForAll @LongRange(max = WalCipher.MAX_SEGMENT_SIZE - 40_000) long offset,
      @ForAll @IntRange(max = 20_000) int skip,
      @ForAll @IntRange(max = 20_000) int size) {
    byte[] whole = new byte[40_000];
    byte[] part = new byte[size + 3];
    byte[] xored = Testing.random(segno, size + 5);
    try (WalCipher cipher = new WalCipher(Testing.counting(0, 32), BASE_IV)) {
      cipher.keystream(7, segno, offset, whole, 0, whole.length);
      cipher.keystream(7, segno, offset + skip, part, 3, size);
      cipher.apply(7, segno, offset + skip, xored, 5, size);
    }
    byte[] expected = Arrays.copyOfRange(whole, skip, skip + size);
    assertThat(Arrays.copyOfRange(part, 3, 3 + size)).isEqualTo(expected);
    byte[] clear = Testing.random(segno, size + 5);
    for (int i = 0; i < size; i++) {
      clear[5 + i] ^= expected[i];
    }
    assertThat(xored).isEqualTo(clear);
  }

  @Test
  void refusesBadArguments() {
    byte[] buf = new byte[16];
    assertThatThrownBy(() -> new WalCipher(new byte[15], BASE_IV))
        .isInstanceOf(IllegalArgumentException.class);
    WalCipher cipher = new WalCipher(Testing.counting(0, 16), BASE_IV);
    for (int tli : new int[] {65536, -1, Integer.MIN_VALUE}) {
      assertThatThrownBy(() -> cipher.apply(tli, 1, 0, buf, 0, 16))
          .isInstanceOf(IllegalArgumentException.class);
    }
    cipher.apply(65535, 1, WalCipher.MAX_SEGMENT_SIZE - 16, buf, 0, 16);
    assertThatThrownBy(() -> cipher.apply(1, 1, WalCipher.MAX_SEGMENT_SIZE - 15, buf, 0, 16))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cipher.apply(1, 1, -1, buf, 0, 16))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cipher.apply(1, 1, 0, buf, 1, 16))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> cipher.keystream(1, 1, 0, buf, 0, 17))
        .isInstanceOf(IndexOutOfBoundsException.class);
    cipher.close();
    assertThatThrownBy(() -> cipher.apply(1, 1, 0, buf, 0, 16))
        .isInstanceOf(IllegalStateException.class);
  }
}
