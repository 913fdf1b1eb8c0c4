package io.pgveil.fuse;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Counts the operations of one worker and their time. Written by that worker only, read by any
 * thread; a reader may see a count without its time.
 */
final class OperationCounters {
  private final AtomicLongArray counts = new AtomicLongArray(Protocol.OPCODES);
  private final AtomicLongArray nanos = new AtomicLongArray(Protocol.OPCODES);

  void add(int opcode, long elapsed) {
    int i = Protocol.name(opcode) == null ? 0 : opcode;
    counts.setOpaque(i, counts.getPlain(i) + 1);
    nanos.setOpaque(i, nanos.getPlain(i) + elapsed);
  }

  void addTo(long[] allCounts, long[] allNanos) {
    for (int i = 0; i < Protocol.OPCODES; i++) {
      allCounts[i] += counts.getOpaque(i);
      allNanos[i] += nanos.getOpaque(i);
    }
  }
}
