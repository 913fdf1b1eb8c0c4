package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.stream.Stream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class SealedCipherTest {
  private static final int UNIT = SealedLayout.UNIT;

  static Stream<String> vectors() {
    return new String(Testing.resource("xts-aes256.txt"), StandardCharsets.US_ASCII)
        .lines()
        .filter(line -> !line.startsWith("#"));
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void goldenVectors(String line) {
    String[] f = line.split("\\|", -1);
    byte[] clear = new byte[UNIT];
    switch (f[3]) {
      case "counter" -> clear = Testing.counting(0, UNIT);
      case "affine" -> clear = Testing.affine(UNIT);
      case "ones" -> Arrays.fill(clear, (byte) 0xff);
      case "zeros" -> {}
      default -> throw new AssertionError(f[3]);
    }
    byte[] out = new byte[UNIT];
    long unit = Long.parseLong(f[2], 16);
    try (SealedCipher cipher = new SealedCipher(Testing.hex(f[1]))) {
      assertThat(cipher.encrypt(unit, clear, 0, 1, out, 0)).isTrue();
      assertThat(Testing.hex(out, 0, 16)).isEqualTo(f[4]);
      assertThat(Testing.hex(out, UNIT - 16, UNIT)).isEqualTo(f[5]);
      assertThat(Testing.sha256(out)).isEqualTo(f[6]);
      cipher.decrypt(unit, out, 0, 1, out, 0);
      assertThat(out).isEqualTo(clear);
    }
  }

  @Property(tries = 100)
  void aRunIsItsUnits(
      @ForAll long seed,
      @ForAll @LongRange(max = 1L << 50) long first,
      @ForAll @IntRange(max = 70) int units,
      @ForAll @IntRange(max = 20) int from,
      @ForAll @IntRange(max = 20) int to) {
    byte[] in = Testing.random(seed, from + units * UNIT);
    byte[] run = new byte[to + units * UNIT];
    byte[] single = new byte[UNIT];
    try (SealedCipher cipher = cipher()) {
      assertThat(cipher.encrypt(first, in, from, units, run, to)).isTrue();
      for (int i = 0; i < units; i++) {
        cipher.encrypt(first + i, in, from + i * UNIT, 1, single, 0);
        assertThat(Arrays.copyOfRange(run, to + i * UNIT, to + (i + 1) * UNIT)).isEqualTo(single);
      }
      byte[] inPlace = in.clone();
      cipher.encrypt(first, inPlace, from, units, inPlace, from);
      assertThat(Arrays.copyOfRange(inPlace, from, inPlace.length))
          .isEqualTo(Arrays.copyOfRange(run, to, run.length));
      cipher.decrypt(first, inPlace, from, units, inPlace, from);
      assertThat(inPlace).isEqualTo(in);
      byte[] back = in.clone();
      Arrays.fill(back, from, back.length, (byte) 0);
      cipher.decrypt(first, run, to, units, back, from);
      assertThat(back).isEqualTo(in);
    }
  }

  @Property(tries = 50)
  void holesReadAsZerosAmongUnits(
      @ForAll @IntRange(min = 1, max = 40) int units, @ForAll long holes) {
    byte[] clear = Testing.random(units, units * UNIT);
    byte[] stored = new byte[clear.length];
    try (SealedCipher cipher = cipher()) {
      cipher.encrypt(7, clear, 0, units, stored, 0);
      for (int i = 0; i < units; i++) {
        if ((holes >>> i & 1) != 0) {
          Arrays.fill(clear, i * UNIT, (i + 1) * UNIT, (byte) 0);
          Arrays.fill(stored, i * UNIT, (i + 1) * UNIT, (byte) 0);
        }
      }
      byte[] back = Testing.random(1, clear.length);
      cipher.decrypt(7, stored, 0, units, back, 0);
      assertThat(back).isEqualTo(clear);
      cipher.decrypt(7, stored, 0, units, stored, 0);
      assertThat(stored).isEqualTo(clear);
    }
  }

  /** The zero rule is per unit: zeros in a part of it are cipher bytes like others. */
  @Test
  void aUnitIsAHoleOnlyAsAWhole() {
    try (SealedCipher cipher = cipher()) {
      for (int nonZero : new int[] {0, 15, 16, 511}) {
        byte[] stored = new byte[UNIT];
        stored[nonZero] = 1;
        byte[] clear = new byte[UNIT];
        cipher.decrypt(3, stored, 0, 1, clear, 0);
        assertThat(clear).isNotEqualTo(stored);
        for (int block = 0; block < UNIT; block += 16) {
          assertThat(Arrays.copyOfRange(clear, block, block + 16)).isNotEqualTo(new byte[16]);
        }
      }
    }
  }

  @Test
  void aUnitThatEncryptsToZerosIsReported() {
    try (SealedCipher cipher = cipher()) {
      byte[] clear = Testing.affine(3 * UNIT);
      // The clear unit whose cipher is zeros: decrypt it past the zero rule, block by block.
      byte[] stored = new byte[UNIT];
      byte[] part = new byte[UNIT];
      stored[0] = 1;
      cipher.decrypt(18, stored, 0, 1, part, 0);
      System.arraycopy(part, 16, clear, UNIT + 16, UNIT - 16);
      stored[0] = 0;
      stored[16] = 1;
      cipher.decrypt(18, stored, 0, 1, part, 0);
      System.arraycopy(part, 0, clear, UNIT, 16);

      byte[] out = new byte[clear.length];
      assertThat(cipher.encrypt(17, clear, 0, 3, out, 0)).isFalse();
      assertThat(Arrays.copyOfRange(out, UNIT, 2 * UNIT)).containsOnly(0);
      assertThat(cipher.encrypt(16, clear, 0, 3, out, 0)).isTrue();
    }
  }

  @Test
  void clearZerosAreEncrypted() {
    byte[] out = new byte[4096];
    try (SealedCipher cipher = cipher()) {
      assertThat(cipher.encrypt(0, new byte[4096], 0, 8, out, 0)).isTrue();
    }
    for (int i = 0; i < 4096; i += 16) {
      assertThat(Arrays.copyOfRange(out, i, i + 16)).isNotEqualTo(new byte[16]);
    }
  }

  @Test
  void refusesBadArguments() {
    byte[] equal = new byte[64];
    System.arraycopy(Testing.counting(1, 32), 0, equal, 0, 32);
    System.arraycopy(Testing.counting(1, 32), 0, equal, 32, 32);
    assertThatThrownBy(() -> new SealedCipher(equal))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("halves");
    assertThatThrownBy(() -> new SealedCipher(new byte[32]))
        .isInstanceOf(IllegalArgumentException.class);
    byte[] b = new byte[1024];
    SealedCipher cipher = cipher();
    assertThatThrownBy(() -> cipher.encrypt(-1, b, 0, 1, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cipher.decrypt(0, b, 0, 1 << 23, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cipher.encrypt(0, b, 1, 2, b, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> cipher.decrypt(0, b, 0, 2, b, 1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    cipher.close();
    assertThatThrownBy(() -> cipher.encrypt(0, b, 0, 1, b, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  static SealedCipher cipher() {
    return new SealedCipher(Testing.counting(0x11, 64));
  }
}
