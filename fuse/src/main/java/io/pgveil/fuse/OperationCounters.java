package io.pgveil.fuse;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Counts the operations of one worker and their time. Written by that worker only, read by any
 * thread; a reader may see a count without its time.
 */
final class OperationCounters {
  private final AtomicLongArray counts = new AtomicLongArray(Protocol.OPCODES);
  private final AtomicLongArray nanos = new AtomicLongArray(Protocol.OPCODES);

  /** Before the reply: whoever has got his answer finds it counted. */
  void count(int opcode) {
    increase(counts, opcode, 1);
  }

  void time(int opcode, long elapsed) {
    increase(nanos, opcode, elapsed);
  }

  private static void increase(AtomicLongArray array, int opcode, long by) {
    int i = Protocol.name(opcode) == null ? 0 : opcode;
    array.setRelease(i, array.getPlain(i) + by);
  }

  void addTo(long[] allCounts, long[] allNanos) {
    for (int i = 0; i < Protocol.OPCODES; i++) {
      allCounts[i] += counts.getAcquire(i);
      allNanos[i] += nanos.getAcquire(i);
    }
  }
}
