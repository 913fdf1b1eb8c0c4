package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class SealedLayoutTest {
  private static final long MAX = SealedLayout.MAX_CLEAR_LENGTH;

  @Test
  void edges() {
    assertThat(SealedLayout.cipherSize(0)).isZero();
    assertThat(SealedLayout.cipherSize(1)).isEqualTo(4609);
    assertThat(SealedLayout.cipherSize(MAX)).isEqualTo(Long.MAX_VALUE);
    assertThat(SealedLayout.clearLength(0)).isZero();
    assertThat(SealedLayout.clearLength(4608)).isZero();
    assertThat(SealedLayout.clearLength(4609)).isEqualTo(1);
    assertThat(SealedLayout.clearLength(Long.MAX_VALUE)).isEqualTo(MAX);
    assertThat(SealedLayout.cipherOffset(0)).isEqualTo(4096);
    assertThat(SealedLayout.slackOffset(0)).isEqualTo(4096);
    assertThat(SealedLayout.slackOffset(1)).isEqualTo(4608);
    assertThat(SealedLayout.slackOffset(512)).isEqualTo(4608);
    assertThat(SealedLayout.slackOffset(513)).isEqualTo(5120);
    assertThat(SealedLayout.unitsFor(511, 0)).isZero();
    assertThat(SealedLayout.unitsFor(511, 1)).isEqualTo(1);
    assertThat(SealedLayout.unitsFor(511, 2)).isEqualTo(2);
    assertThat(SealedLayout.unitsFor(512, 512)).isEqualTo(1);
    assertThat(SealedLayout.unitsFor(MAX, 0)).isZero();
    assertThatThrownBy(() -> SealedLayout.cipherSize(-1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> SealedLayout.cipherSize(MAX + 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> SealedLayout.unitsFor(MAX, 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Property
  void sizeAndLengthAreInverse(@ForAll @LongRange(max = Long.MAX_VALUE - 4608) long length) {
    assertThat(SealedLayout.clearLength(SealedLayout.cipherSize(length))).isEqualTo(length);
  }

  /** Whatever size the kernel persists between two sizes is a length between the two lengths. */
  @Property
  void bothAreMonotone(
      @ForAll @LongRange(max = 100_000) long a, @ForAll @LongRange(max = 100_000) long b) {
    long low = Math.min(a, b);
    long high = Math.max(a, b);
    assertThat(SealedLayout.clearLength(low)).isLessThanOrEqualTo(SealedLayout.clearLength(high));
    assertThat(SealedLayout.cipherSize(low)).isLessThanOrEqualTo(SealedLayout.cipherSize(high));
  }

  /** Every unit that holds a clear byte is on disk as a whole, and slack begins where units end. */
  @Property
  void theLastUnitLiesInsideTheFile(@ForAll @LongRange(min = 1, max = 1L << 40) long length) {
    long lastUnit = SealedLayout.unit(length - 1);
    long end = SealedLayout.unitOffset(lastUnit) + SealedLayout.UNIT;
    assertThat(SealedLayout.slackOffset(length)).isEqualTo(end);
    assertThat(SealedLayout.cipherSize(length) - end).isBetween(1L, 512L);
    assertThat(SealedLayout.unitsFor(0, length)).isEqualTo(lastUnit + 1);
  }

  @Property
  void unitsForCountsTheUnitsTouched(
      @ForAll @LongRange(max = 1L << 40) long offset, @ForAll @LongRange(max = 5000) long size) {
    long count = 0;
    for (long unit = offset / 512; unit * 512 < offset + size; unit++) {
      count++;
    }
    assertThat(SealedLayout.unitsFor(offset, size)).isEqualTo(size == 0 ? 0 : count);
  }

  /** 4 KiB pages of the clear file are 4 KiB pages of the file on disk. */
  @Property
  void offsetsKeepTheirAlignment(@ForAll @LongRange(max = 1L << 40) long offset) {
    assertThat(SealedLayout.cipherOffset(offset) % 4096).isEqualTo(offset % 4096);
    assertThat(SealedLayout.unitOffset(SealedLayout.unit(offset)))
        .isEqualTo(SealedLayout.cipherOffset(offset) / 512 * 512);
  }
}
