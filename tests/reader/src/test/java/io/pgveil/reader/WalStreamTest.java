package io.pgveil.reader;

import static io.pgveil.reader.Golden.counting;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which bytes belong to which range, and pgveil's raw words. */
class WalStreamTest {
  private static final int SIZE = 1 << 20;
  private static final Bytes IV = Bytes.of(counting(0xf0, 16));
  private static final Secret KEY = Secret.of(counting(0, 16));
  private static final Secret OTHER = Secret.of(counting(1, 16));

  private static WalRange range(WalLocation start, WalLocation end, boolean encrypted, Secret key) {
    return new WalRange(start, end, encrypted, key, IV);
  }

  private static byte[] decryptZeros(long timeline, long segment, WalRange... ranges) {
    WalSegmentName name = new WalSegmentName("segment", timeline, segment, SIZE);
    return WalStream.decrypt(name, new byte[SIZE], List.of(ranges), ReadAs.PG_TDE);
  }

  private static byte[] keystream(Secret key, long timeline, long segment, int offset, int length) {
    return WalStream.keystream(key, WalStream.counterPrefix(IV, timeline, segment), offset, length);
  }

  @Test
  void eachByteHasItsOwnRange() {
    WalLocation change = new WalLocation(1, SIZE + 13);
    WalLocation clearAgain = new WalLocation(1, SIZE + 100);
    byte[] stream =
        decryptZeros(
            1,
            1,
            range(new WalLocation(1, 5), change, true, KEY),
            range(change, clearAgain, true, OTHER),
            range(clearAgain, WalLocation.END, false, KEY));
    assertThat(Arrays.copyOf(stream, 13)).isEqualTo(keystream(KEY, 1, 1, 0, 13));
    assertThat(Arrays.copyOfRange(stream, 13, 100)).isEqualTo(keystream(OTHER, 1, 1, 13, 87));
    assertThat(Source.isZero(stream, 100, SIZE)).isTrue();
  }

  @Test
  void walBeforeTheFirstRangeIsClear() {
    byte[] stream =
        decryptZeros(2, 0, range(new WalLocation(2, 0x8000), WalLocation.END, true, KEY));
    assertThat(Source.isZero(stream, 0, 0x8000)).isTrue();
    assertThat(Arrays.copyOfRange(stream, 0x8000, 0x8010))
        .isEqualTo(keystream(KEY, 2, 0, 0x8000, 16));
  }

  @Test
  void timelinesBetweenStartAndEndAreCoveredAtAnyLsn() {
    WalRange first =
        range(new WalLocation(1, 50L * SIZE), new WalLocation(3, 2L * SIZE + 7), true, KEY);
    WalRange second = range(first.end(), WalLocation.END, true, OTHER);
    assertThat(decryptZeros(2, 1, first, second)).isEqualTo(keystream(KEY, 2, 1, 0, SIZE));
    assertThat(decryptZeros(2, 99, first, second)).isEqualTo(keystream(KEY, 2, 99, 0, SIZE));
    byte[] last = decryptZeros(3, 2, first, second);
    assertThat(Arrays.copyOf(last, 7)).isEqualTo(keystream(KEY, 3, 2, 0, 7));
    assertThat(Arrays.copyOfRange(last, 7, SIZE)).isEqualTo(keystream(OTHER, 3, 2, 7, SIZE - 7));
    assertThat(decryptZeros(1, 49, first, second)).isEqualTo(new byte[SIZE]);
  }

  /** Notes B2: an aligned word of zeros within one range is clear, astride a start it is not. */
  @Test
  void rawWords() {
    WalLocation start = new WalLocation(1, SIZE + 20);
    List<WalRange> ranges =
        List.of(
            range(new WalLocation(1, SIZE), start, true, KEY),
            range(start, WalLocation.END, true, OTHER));
    WalSegmentName name = new WalSegmentName("segment", 1, 1, SIZE);
    byte[] stored = new byte[40];
    stored[9] = 1;
    byte[] clear = WalStream.decrypt(name, 0, stored, ranges, ReadAs.PGVEIL);

    byte[] expected = new byte[40];
    System.arraycopy(keystream(KEY, 1, 1, 8, 12), 0, expected, 8, 12);
    System.arraycopy(keystream(OTHER, 1, 1, 20, 4), 0, expected, 20, 4);
    expected[9] ^= 1;
    assertThat(clear).isEqualTo(expected);
    // The words are those of the segment, not of the part.
    assertThat(WalStream.decrypt(name, 8, Arrays.copyOfRange(stored, 8, 40), ranges, ReadAs.PGVEIL))
        .isEqualTo(Arrays.copyOfRange(expected, 8, 40));
  }

  @Test
  void names() {
    WalSegmentName name =
        WalSegmentName.parse("000000020000000100000003.partial", 16 << 20).orElseThrow();
    assertThat(name.timeline()).isEqualTo(2);
    assertThat(name.segment()).isEqualTo(259);
    assertThat(name.startLsn()).isEqualTo(0x1_0300_0000L);
    assertThat(WalSegmentName.parse("000000020000000100000100", 16 << 20)).isEmpty();
    assertThat(WalSegmentName.parse("00000002.history", 16 << 20)).isEmpty();
  }
}
