package io.pgveil.fuse;

import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A dispatcher on plain memory: requests are put together here, replies are kept. A request ends
 * where its memory does, so that reading behind it is a fault.
 */
final class Exchange {
  static final int CAPACITY = 16_384;
  static final long UNIQUE = 0x1234_5678_9abcL;
  private static final int AREA = 1 << 16;
  private static final byte CANARY = 0x5a;

  private final long area;
  private final long out;
  private final RequestDispatcher dispatcher;
  private final OperationCounters counters = new OperationCounters();

  final List<ByteBuffer> replies = new ArrayList<>();

  /** What the kernel says to replies. */
  long sendResult;

  Exchange(FileSystem fileSystem) {
    area = Posix.mmapAnonymous(AREA + 4096);
    Posix.munmap(area + AREA, 4096);
    out = Memory.allocate(CAPACITY + 3L * 4096, 4096) + 4096;
    dispatcher = new RequestDispatcher(fileSystem, this::send, counters, out, out - 16, CAPACITY);
  }

  void close() {
    Posix.munmap(area, AREA);
  }

  private long send(long address, int size) {
    byte[] bytes = new byte[size];
    Memory.copyOut(address, bytes, 0, size);
    replies.add(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
    return sendResult < 0 ? sendResult : size;
  }

  /** Sends a request and returns its reply; fails unless there is exactly one. */
  ByteBuffer ask(int opcode, long node, byte[] arguments) {
    send(opcode, node, arguments);
    if (replies.size() != 1) {
      throw new AssertionError(replies.size() + " replies");
    }
    return replies.getFirst();
  }

  void send(int opcode, long node, byte[] arguments) {
    ByteBuffer b = ByteBuffer.allocate(40 + arguments.length).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(b.capacity()).putInt(opcode).putLong(UNIQUE).putLong(node);
    b.putInt(1001).putInt(1002).putInt(1003).putInt(0).put(arguments);
    sendRaw(b.array());
  }

  void sendRaw(byte[] request) {
    replies.clear();
    Memory.fill(out - 4096, 4096 - 16, CANARY);
    Memory.fill(out + CAPACITY, 4096, CANARY);
    long at = area + AREA - request.length;
    Memory.copyIn(request, 0, at, request.length);
    dispatcher.dispatch(at, request.length);
    for (int i = 0; i < 4096; i++) {
      if ((i < 4096 - 16 && Memory.getByte(out - 4096 + i) != CANARY)
          || Memory.getByte(out + CAPACITY + i) != CANARY) {
        throw new AssertionError("written outside of the reply, at " + i);
      }
    }
  }

  long[] counts() {
    long[] counts = new long[Protocol.OPCODES];
    counters.addTo(counts, new long[Protocol.OPCODES]);
    return counts;
  }

  /** Arguments of a request: Integer (4 bytes), Long (8), String (with its NUL), byte[]. */
  static byte[] args(Object... values) {
    ByteBuffer b = ByteBuffer.allocate(40_000).order(ByteOrder.LITTLE_ENDIAN);
    for (Object value : values) {
      switch (value) {
        case Integer i -> b.putInt(i);
        case Long l -> b.putLong(l);
        case String s -> b.put(s.getBytes(StandardCharsets.ISO_8859_1)).put((byte) 0);
        case byte[] bytes -> b.put(bytes);
        default -> throw new IllegalArgumentException(value.toString());
      }
    }
    byte[] bytes = new byte[b.position()];
    b.flip().get(bytes);
    return bytes;
  }
}
