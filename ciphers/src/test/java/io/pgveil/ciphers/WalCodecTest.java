package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.Random;
import java.util.zip.CRC32C;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class WalCodecTest {
  private static final int PAGE = WalPage.SIZE;

  private final WalCipher cipher =
      new WalCipher(Testing.counting(0, 16), Testing.counting(0xf0, 16));
  private final WalCodec codec = new WalCodec(cipher);

  @Property(tries = 200)
  void decodeUndoesEncodeForAnyExact(
      @ForAll long seed,
      @ForAll @IntRange(max = 5000) int startWord,
      @ForAll @IntRange(max = 4000) int words,
      @ForAll @IntRange(max = 100) int exactPercent,
      @ForAll @IntRange(max = 9) int outOffset) {
    byte[] clear = sparse(seed, words * 8);
    int exact = clear.length * exactPercent / 100;
    byte[] out = new byte[clear.length + outOffset];
    long offset = startWord * 8L;
    int raw = codec.encodeWords(3, 9, offset, clear, 0, clear.length, exact, out, outOffset);
    assertThat(raw).isNotNegative();

    byte[] back = new byte[clear.length];
    codec.decode(3, 9, offset, out, outOffset, clear.length, back, 0);
    assertThat(back).isEqualTo(clear);

    byte[] inPlace = clear.clone();
    codec.encode(3, 9, offset, inPlace, 0, clear.length, exact, inPlace, 0);
    assertThat(inPlace).isEqualTo(Arrays.copyOfRange(out, outOffset, out.length));
    codec.decode(3, 9, offset, inPlace, 0, clear.length, inPlace, 0);
    assertThat(inPlace).isEqualTo(clear);
  }

  /** A reader sees any words of a write, not the write. */
  @Property(tries = 200)
  void anyWordsDecodeAlone(
      @ForAll long seed,
      @ForAll @IntRange(max = 3000) int exact,
      @ForAll @IntRange(max = 3000) int fromWord,
      @ForAll @IntRange(max = 96) int words) {
    byte[] clear = sparse(seed, 3 * PAGE + 800);
    byte[] stored = new byte[clear.length];
    codec.encodeWords(3, 9, PAGE, clear, 0, clear.length, exact * 8, stored, 0);
    int from = fromWord * 8;
    byte[] part = new byte[words * 8];
    codec.decode(3, 9, PAGE + from, stored, from, part.length, part, 0);
    assertThat(part).isEqualTo(Arrays.copyOfRange(clear, from, from + part.length));
  }

  @Property(tries = 100)
  void bytesBelowExactAreAsPgTdeWritesThem(
      @ForAll long seed, @ForAll @IntRange(max = 8192) int exact) {
    byte[] clear = sparse(seed, PAGE);
    clear[0] = 1;
    byte[] stored = new byte[PAGE];
    codec.encode(1, 5, 3 * PAGE, clear, 0, PAGE, exact, stored, 0);
    byte[] plain = clear.clone();
    cipher.apply(1, 5, 3 * PAGE, plain, 0, PAGE);
    assertThat(Arrays.copyOf(stored, exact)).isEqualTo(Arrays.copyOf(plain, exact));
    for (int i = (exact + 7) & -8; i < PAGE; i += 8) {
      long word = Bytes.getLong(clear, i);
      assertThat(Bytes.getLong(stored, i)).isEqualTo(word == 0 ? 0 : Bytes.getLong(plain, i));
    }
  }

  /** No keystream for the zeros behind the records, and all of it for zeros inside them. */
  @Test
  void theZeroTailOfThePageStaysRaw() {
    byte[] page = WalPageTest.page(0, 0);
    int zeroEnd = putZeroRecord(page, 24, 1000);
    byte[] stored = new byte[PAGE];
    int raw = codec.encode(1, 5, 0, page, 0, PAGE, WalPage.exactBytes(0, page, 0, PAGE), stored, 0);
    assertThat(raw).isEqualTo((PAGE - zeroEnd) / 8);
    assertThat(Arrays.copyOfRange(stored, zeroEnd, PAGE)).containsOnly(0);
    for (int i = 0; i < zeroEnd; i += 8) {
      assertThat(Bytes.getLong(stored, i)).as("word at %d", i).isNotZero();
    }
  }

  @Test
  void finishingAPageLeavesNoRawWord() {
    byte[] page = WalPageTest.page(0, 0);
    byte[] stored = new byte[PAGE];
    assertThat(codec.encode(1, 5, 0, page, 0, PAGE, 24, stored, 0)).isPositive();
    assertThat(codec.encode(1, 5, 0, page, 0, PAGE, PAGE, stored, 0)).isZero();
    byte[] plain = page.clone();
    cipher.apply(1, 5, 0, plain, 0, PAGE);
    assertThat(stored).isEqualTo(plain);
  }

  @Test
  void wholeZeroPagesAreRawAnywhereInAWrite() {
    byte[] clear = new byte[3 * PAGE];
    Arrays.fill(clear, 0, PAGE, (byte) 1);
    clear[2 * PAGE + 77] = 1;
    byte[] stored = Testing.random(1, clear.length);
    assertThat(codec.encode(1, 5, PAGE, clear, 0, clear.length, clear.length, stored, 0)).isZero();
    assertThat(Arrays.copyOfRange(stored, PAGE, 2 * PAGE)).containsOnly(0);
    assertThat(Arrays.copyOfRange(stored, 2 * PAGE, 2 * PAGE + 64)).doesNotContain(new byte[8]);
    byte[] back = new byte[clear.length];
    codec.decode(1, 5, PAGE, stored, 0, clear.length, back, 0);
    assertThat(back).isEqualTo(clear);
  }

  @Test
  void aWordEqualToItsKeystreamIsReported() {
    byte[] clear = sparse(4, PAGE);
    clear[0] = 1;
    byte[] out = new byte[PAGE];
    for (int exact : new int[] {0, PAGE}) {
      byte[] bad = clear.clone();
      cipher.keystream(1, 5, PAGE + 4000, bad, 4000, 8);
      assertThat(codec.encode(1, 5, PAGE, bad, 0, PAGE, exact, out, 0))
          .isEqualTo(WalCodec.AMBIGUOUS);
      bad[4003] ^= 1;
      assertThat(codec.encode(1, 5, PAGE, bad, 0, PAGE, exact, out, 0)).isNotNegative();
    }
  }

  /** Two ranges meet inside a word: each codes its bytes of it, also when they are stored as 0. */
  @Property(tries = 200)
  void wordsAstrideARangeBorder(
      @ForAll long seed, @ForAll @IntRange(min = 8, max = 200) int border) {
    try (WalCipher later = new WalCipher(Testing.counting(9, 32), Testing.counting(0, 16))) {
      WalCodec laterCodec = new WalCodec(later);
      byte[] clear = sparse(seed, 256);
      cipher.keystream(1, 5, border & -8, clear, border & -8, border & 7);
      byte[] stored = new byte[256];
      assertThat(codec.encode(1, 5, 0, clear, 0, border, 0, stored, 0)).isNotNegative();
      assertThat(laterCodec.encode(1, 5, border, clear, border, 256 - border, 0, stored, border))
          .isNotNegative();
      byte[] back = new byte[256];
      codec.decode(1, 5, 0, stored, 0, border, back, 0);
      laterCodec.decode(1, 5, border, stored, border, 256 - border, back, border);
      assertThat(back).isEqualTo(clear);

      int word = (border + 7) & -8;
      byte[] behind = new byte[256 - word];
      laterCodec.decode(1, 5, word, stored, word, behind.length, behind, 0);
      assertThat(behind)
          .as("words are those of the segment, not of the call")
          .isEqualTo(Arrays.copyOfRange(clear, word, 256));
    }
  }

  @Property(tries = 200)
  void piecesSmallerThanAWordAreXored(
      @ForAll @IntRange(max = 40) int offset, @ForAll @IntRange(max = 7) int size) {
    byte[] stored = new byte[size];
    codec.encode(1, 5, offset, new byte[size], 0, size, 0, stored, 0);
    byte[] stream = new byte[size];
    cipher.keystream(1, 5, offset, stream, 0, size);
    assertThat(stored).isEqualTo(stream);
    codec.decode(1, 5, offset, stored, 0, size, stored, 0);
    assertThat(stored).isEqualTo(new byte[size]);
  }

  /** What the data directory does with odd writes: whole words by read-modify-write. */
  @Property(tries = 50)
  void oddWritesThroughWholeWordsAreExact(@ForAll long seed) {
    Random random = new Random(seed);
    byte[] clear = new byte[4 * PAGE];
    byte[] disk = new byte[clear.length];
    for (int i = 0; i < 50; i++) {
      int from = random.nextInt(clear.length);
      int size = random.nextInt(Math.min(clear.length - from, 3000)) + 1;
      byte[] data = sparse(random.nextLong(), size);
      System.arraycopy(data, 0, clear, from, size);

      int low = from & -8;
      int high = (from + size + 7) & -8;
      byte[] words = new byte[high - low];
      codec.decode(1, 5, low, disk, low, words.length, words, 0);
      System.arraycopy(data, 0, words, from - low, size);
      assertThat(codec.encodeWords(1, 5, low, words, 0, words.length, words.length, disk, low))
          .isNotNegative();
    }
    codec.decode(1, 5, 0, disk, 0, disk.length, disk, 0);
    assertThat(disk).isEqualTo(clear);
  }

  @Test
  void refusesBadArguments() {
    byte[] b = new byte[64];
    assertThatThrownBy(() -> codec.encodeWords(1, 5, 4, b, 0, 8, 8, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> codec.encodeWords(1, 5, 8, b, 0, 12, 12, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> codec.encode(1, 5, 8, b, 0, 8, 9, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> codec.encode(65536, 5, 8, b, 0, 8, 8, b, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> codec.decode(1, 5, 8, b, 60, 8, b, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> codec.decode(1, 5, 8, b, 0, 8, b, 60))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }

  /** A record of zeros; only length and CRC are not. */
  private static int putZeroRecord(byte[] page, int at, int length) {
    int end = WalPageTest.putRecord(page, at, length);
    Arrays.fill(page, at + 4, at + length, (byte) 0);
    Bytes.putInt(page, at, length);
    CRC32C crc = new CRC32C();
    crc.update(page, at + 24, length - 24);
    crc.update(page, at, 20);
    Bytes.putInt(page, at + 20, (int) crc.getValue());
    return end;
  }

  /** Random bytes with runs of zeros of all lengths. */
  private static byte[] sparse(long seed, int size) {
    Random random = new Random(seed);
    byte[] bytes = new byte[size];
    for (int i = 0; i < size; ) {
      int end = Math.min(size, i + 1 + random.nextInt(1 << random.nextInt(14)));
      if (random.nextBoolean()) {
        for (int j = i; j < end; j++) {
          bytes[j] = (byte) random.nextInt();
        }
      }
      i = end;
    }
    return bytes;
  }
}
