package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Nothing is allocated per call: the JVM's own count of this thread's allocated bytes. */
class AllocationTest {
  private static final int CALLS = 500;

  private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private final byte[] in = Testing.random(1, 128 * 1024);
  private final byte[] out = new byte[128 * 1024];
  private final byte[] page = WalPageTest.page(0, 0);
  private byte[] sink = new byte[0];

  /** The measurement itself sees an allocation of a few bytes per call. */
  @Test
  void theMeasureCanFail() {
    assertThat(allocatedBy(() -> sink = new byte[1])).isGreaterThanOrEqualTo(16L * CALLS);
    assertThat(sink).hasSize(1);
  }

  @Test
  void pages() {
    try (PageCipher cipher = new PageCipher(new byte[16], new byte[16])) {
      assertNothing(() -> cipher.encrypt(in, 0, 1, 2, out, 0));
      assertNothing(() -> cipher.decrypt(in, 0, 1, 2, out, 0));
      assertNothing(() -> cipher.encrypt(in, 8192, 1, 2, in, 8192));
      assertNothing(() -> cipher.decrypt(in, 8192, 1, 2, in, 8192));
    }
  }

  @Test
  void wal() {
    WalPageTest.putRecord(page, 24, 1000);
    try (WalCipher cipher = new WalCipher(new byte[32], new byte[16])) {
      WalCodec codec = new WalCodec(cipher);
      assertNothing(() -> cipher.keystream(1, 2, 3, out, 0, 30_000));
      assertNothing(() -> cipher.apply(1, 2, 3, out, 0, 30_000));
      assertNothing(() -> codec.encode(1, 2, 8192, in, 0, 30_000, 20_000, out, 0));
      assertNothing(() -> codec.decode(1, 2, 8192, in, 0, 30_000, out, 0));
    }
  }

  @Test
  void sealed() {
    try (SealedCipher cipher = SealedCipherTest.cipher()) {
      assertNothing(() -> cipher.encrypt(5, in, 0, 33, out, 0));
      assertNothing(() -> cipher.decrypt(5, in, 0, 33, out, 0));
      assertNothing(() -> cipher.encrypt(5, in, 0, 1, in, 0));
      assertNothing(() -> cipher.decrypt(5, in, 0, 1, in, 0));
    }
  }

  /** One small CRC object, which the compiler may or may not put on the stack. */
  @Test
  void recordEndAllocatesAtMostItsCrc() {
    WalPageTest.putRecord(page, WalPageTest.putRecord(page, 24, 1000), 2000);
    assertThat(allocatedBy(() -> WalPage.recordEnd(page, 0))).isLessThanOrEqualTo(16L * CALLS);
  }

  private void assertNothing(Runnable call) {
    assertThat(allocatedBy(call)).isZero();
  }

  /**
   * Bytes allocated by {@link #CALLS} calls: the least of several rounds, because the JVM itself
   * allocates now and then while it links and compiles, and a call that allocates does so in each.
   */
  private long allocatedBy(Runnable call) {
    long least = Long.MAX_VALUE;
    for (int round = 0; round < 10 && least > 0; round++) {
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < CALLS; i++) {
        call.run();
      }
      least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
    }
    return least;
  }
}
