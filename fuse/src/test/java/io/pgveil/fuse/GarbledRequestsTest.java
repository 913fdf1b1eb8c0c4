package io.pgveil.fuse;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

/**
 * Whatever arrives: no exception, no access outside, and one well-formed reply where one is due.
 */
class GarbledRequestsTest {
  private static final List<Integer> SILENT = List.of(2, 41, 42);

  private final Exchange exchange = new Exchange(new MemoryFileSystem());

  /** Numbers that reach further than random ones. */
  private static final long[] VALUES = {
    0, 1, 2, 3, 4, 7, 8, 100, 4096, 65_536, -1, Integer.MAX_VALUE, Long.MAX_VALUE, Long.MIN_VALUE
  };

  @Property(tries = 20_000)
  void areAnswered(
      @ForAll @IntRange(min = 0, max = 60) int opcode,
      @ForAll @IntRange(min = 0, max = 400) int size,
      @ForAll long seed) {
    Random random = new Random(seed);
    byte[] bytes = new byte[size];
    ByteBuffer b = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int numbers = random.nextInt(12);
    for (int i = 0; i < numbers && b.remaining() >= 8; i++) {
      long value = VALUES[random.nextInt(VALUES.length)];
      if (random.nextBoolean()) {
        b.putInt((int) value);
      } else {
        b.putLong(value);
      }
    }
    while (b.hasRemaining()) {
      b.put((byte) "ab\0./".charAt(random.nextInt(5)));
    }
    if (size >= 40) {
      b.putLong(8, Exchange.UNIQUE).putInt(4, opcode).putLong(16, random.nextInt(20));
      if (random.nextInt(10) > 0) {
        b.putInt(0, size);
      }
    }
    exchange.sendRaw(bytes);
    if (size < 40 || SILENT.contains(opcode)) {
      assertThat(exchange.replies).isEmpty();
      return;
    }
    assertThat(exchange.replies).hasSize(1);
    ByteBuffer reply = exchange.replies.getFirst();
    assertThat(reply.getInt(0)).isEqualTo(reply.capacity());
    assertThat(reply.capacity()).isBetween(16, 16 + Exchange.CAPACITY);
    assertThat(reply.getInt(4)).isBetween(-511, 0);
    assertThat(reply.getLong(8)).isEqualTo(Exchange.UNIQUE);
    if (reply.getInt(4) != 0) {
      assertThat(reply.capacity()).isEqualTo(16);
      // MemoryFileSystem has no EIO of its own: that would be an exception below.
      assertThat(reply.getInt(4)).isNotEqualTo(-5);
    }
  }
}
