package io.pgveil.ciphers;

import static io.pgveil.ciphers.PageCipher.PAGE_SIZE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PageCipherTest {
  private static final byte[] BASE_IV = Testing.counting(0xf0, 16);

  /** pg_tde format, section 7.1. */
  @ParameterizedTest
  @CsvSource({
    "16,0,0,29c99ea986fa95edf1f01a6a9ba4b1f9,af9be9ebfbdf356c8896323799c03356,"
        + "5adb889a49ec5f15cfd84154e20f06bbda6c0d1b8dde58305a46d2bbdb0daf9b",
    "16,1,3,4e503880a808f53d39cc61a7204dcf3f,d07c8358177e3f4d658da409ca888d53,"
        + "18aaa9e41bb097e15ecc2f553b457be7d32c31beeaa0c52ed036ced374104b8e",
    "16,0,0x01020304,9c66748b7739fbc1486ba7d32e8df9af,976a508018cddf3eea2a2fe63d11ca12,"
        + "f088c98af8c74ad57e02b722b7ecff02e4e8ecb7536971fa121ff9f322a30299",
    "16,3,0x01020304,9c66748b7739fbc1486ba7d32e8df9af,976a508018cddf3eea2a2fe63d11ca12,"
        + "f088c98af8c74ad57e02b722b7ecff02e4e8ecb7536971fa121ff9f322a30299",
    "32,0,0,9bc5af02a51b5fc458a4423e83c18f18,c568ee07617a537f18ad19f3dea8a6f3,"
        + "a445a4bb7027819329b8ac5e8a0e8f0f0a7450fa68373795e74edea53374c787",
    "32,1,3,93908988295c0d4d3b8f14f8b573f1f1,560828bc5d807bca156a391c14392027,"
        + "df65b20f2ee62c8ae79bfbe9b2abe6a4880518aa2d3229a9b8b12da51815168f",
  })
  void goldenVectors(int keySize, int fork, String block, String first, String last, String sha) {
    byte[] page = Testing.affine(PAGE_SIZE);
    assertThat(Testing.sha256(page))
        .isEqualTo("c476a00d8b74e4d2fe350d8447e37bb4e0da1b30b0944db5f818b23b7df3c911");
    int number = Integer.decode(block);
    byte[] out = new byte[PAGE_SIZE];
    try (PageCipher cipher = new PageCipher(Testing.counting(0, keySize), BASE_IV)) {
      cipher.encrypt(page, 0, fork, number, out, 0);
      assertThat(Testing.hex(out, 0, 16)).isEqualTo(first);
      assertThat(Testing.hex(out, PAGE_SIZE - 16, PAGE_SIZE)).isEqualTo(last);
      assertThat(Testing.sha256(out)).isEqualTo(sha);
      cipher.decrypt(out, 0, fork, number, out, 0);
      assertThat(out).isEqualTo(page);
    }
  }

  /** Block 2 of a free-space map that a pg_tde server wrote, with its (throw-away) key. */
  @Test
  void readsAPageOfARealServer() {
    byte[] stored = Testing.resource("page-16743-fsm-2.bin");
    byte[] clear = new byte[PAGE_SIZE];
    try (PageCipher cipher =
        new PageCipher(
            Testing.hex("72719da3ef30baf2d0da5c5c0c6ddac6"),
            Testing.hex("7e177a7eaefa69c5d14e76378b213c9e"))) {
      cipher.decrypt(stored, 0, PageCipher.FORK_FSM, 2, clear, 0);
    }
    assertThat(Testing.sha256(clear))
        .isEqualTo("a735169816fae0d84a8ee268ed5be404ee35ee9266bab6c79a8b52e74f5acdbd");
  }

  @Property(tries = 50)
  void roundTripsInPlaceAndElsewhere(
      @ForAll long seed,
      @ForAll @IntRange(max = 3) int fork,
      @ForAll int block,
      @ForAll @IntRange(max = 40) int from,
      @ForAll @IntRange(max = 40) int to) {
    byte[] in = Testing.random(seed, PAGE_SIZE + 40);
    byte[] clear = Arrays.copyOfRange(in, from, from + PAGE_SIZE);
    byte[] out = new byte[PAGE_SIZE + 40];
    try (PageCipher cipher = cipher()) {
      cipher.encrypt(in, from, fork, block, out, to);
      byte[] stored = Arrays.copyOfRange(out, to, to + PAGE_SIZE);
      assertThat(in).as("input untouched").isEqualTo(Testing.random(seed, PAGE_SIZE + 40));
      assertThat(stored).isNotEqualTo(clear);
      cipher.encrypt(in, from, fork, block, in, from);
      assertThat(Arrays.copyOfRange(in, from, from + PAGE_SIZE)).isEqualTo(stored);

      cipher.decrypt(out, to, fork, block, in, from);
      assertThat(Arrays.copyOfRange(in, from, from + PAGE_SIZE)).isEqualTo(clear);
      cipher.decrypt(out, to, fork, block, out, to);
      assertThat(Arrays.copyOfRange(out, to, to + PAGE_SIZE)).isEqualTo(clear);
    }
  }

  @Test
  void blockNumbersAreUnsigned() {
    byte[] page = Testing.affine(PAGE_SIZE);
    byte[] out = new byte[PAGE_SIZE];
    byte[] shiftedIv = BASE_IV.clone();
    for (int i = 12; i < 16; i++) {
      shiftedIv[i] ^= (byte) 0xff;
    }
    byte[] expected = new byte[PAGE_SIZE];
    try (PageCipher cipher = cipher();
        PageCipher shifted = new PageCipher(Testing.counting(0, 16), shiftedIv)) {
      cipher.encrypt(page, 0, 0, 0xffff_ffff, out, 0);
      shifted.encrypt(page, 0, 0, 0, expected, 0);
    }
    assertThat(out).isEqualTo(expected);
  }

  @Test
  void anAllZeroPageIsStoredAsZeros() {
    byte[] zeros = new byte[PAGE_SIZE];
    byte[] out = Testing.random(1, PAGE_SIZE);
    try (PageCipher cipher = cipher()) {
      cipher.encrypt(zeros, 0, 0, 7, out, 0);
      assertThat(out).isEqualTo(zeros);
      out = Testing.random(2, PAGE_SIZE);
      cipher.decrypt(zeros, 0, 0, 7, out, 0);
      assertThat(out).isEqualTo(zeros);
    }
  }

  /** pg_tde would show the bytes behind 32 zero bytes as they are on the disk. */
  @Test
  void zerosInFrontDoNotMakeAPageClear() {
    try (PageCipher cipher = cipher()) {
      for (int nonZero : new int[] {0, 31, 32, 4096, PAGE_SIZE - 1}) {
        byte[] stored = new byte[PAGE_SIZE];
        stored[nonZero] = 1;
        byte[] clear = new byte[PAGE_SIZE];
        cipher.decrypt(stored, 0, 0, 7, clear, 0);
        assertThat(clear).as("byte %d", nonZero).isNotEqualTo(stored);
        cipher.encrypt(clear, 0, 0, 7, clear, 0);
        assertThat(clear).as("byte %d", nonZero).isEqualTo(stored);
      }
    }
  }

  @Test
  void refusesBadArguments() {
    assertThatThrownBy(() -> new PageCipher(new byte[24], BASE_IV))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("24 bytes");
    assertThatThrownBy(() -> new PageCipher(new byte[16], new byte[12]))
        .isInstanceOf(IllegalArgumentException.class);
    byte[] page = new byte[PAGE_SIZE];
    try (PageCipher cipher = cipher()) {
      assertThatThrownBy(() -> cipher.encrypt(page, 0, 4, 0, page, 0))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> cipher.encrypt(page, 1, 0, 0, page, 0))
          .isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> cipher.decrypt(page, 0, 0, 0, page, 1))
          .isInstanceOf(IndexOutOfBoundsException.class);
    }
  }

  @Test
  void copiesItsKeyAndRefusesToWorkWhenClosed() {
    byte[] key = Testing.counting(0, 16);
    byte[] page = Testing.affine(PAGE_SIZE);
    byte[] expected = new byte[PAGE_SIZE];
    byte[] out = new byte[PAGE_SIZE];
    PageCipher cipher = new PageCipher(key, BASE_IV);
    cipher.encrypt(page, 0, 0, 0, expected, 0);
    Arrays.fill(key, (byte) 0);
    cipher.encrypt(page, 0, 0, 0, out, 0);
    assertThat(out).isEqualTo(expected);
    cipher.close();
    cipher.close();
    assertThatThrownBy(() -> cipher.encrypt(page, 0, 0, 0, out, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> cipher.decrypt(page, 0, 0, 0, out, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  private static PageCipher cipher() {
    return new PageCipher(Testing.counting(0, 16), BASE_IV);
  }
}
