package io.pgveil.fuse;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * INIT, the first request of a connection. First byte of an input: 1 put length and operation
 * right; then the request.
 */
public final class HandshakeFuzz {
  private static final int ROOM = 4096;
  private static final long IN = Posix.mmapAnonymous(ROOM + 4096);
  private static final MountOptions OPTIONS = MountOptions.at(Path.of("/nowhere")).build();
  private static final long OUT = Memory.allocate(4096, 4096);

  static {
    Posix.munmap(IN + ROOM, 4096);
  }

  private HandshakeFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] request = bits.bytes(ROOM);
    if ((mode & 1) != 0 && request.length >= 8) {
      RequestFuzz.putInt(request, 0, request.length);
      RequestFuzz.putInt(request, 4, 26);
    }
    long at = IN + ROOM - request.length;
    Memory.copyIn(request, 0, at, request.length);
    byte[] first = answer(at, request.length, 0);
    Violation.unless(
        Arrays.equals(first, answer(at, request.length, 0xff)),
        "the reply shows what was in the buffer before");
  }

  private static byte[] answer(long at, int size, int background) {
    Memory.fill(OUT, 4096, background);
    byte[] reply = new byte[Handshake.replySize()];
    try {
      FileSystem.SessionInfo info = Handshake.answer(at, size, OPTIONS, size % 2 == 0, OUT);
      Memory.copyOut(OUT, reply, 0, reply.length);
      Violation.unless(RequestFuzz.getInt(reply, 0) == reply.length, "a wrong length");
      Violation.unless(
          info == null || (info.maxWrite() > 0 && info.protocolMinor() <= 38), "not agreed on");
    } catch (MountException e) {
      Violation.unless(!String.valueOf(e.getMessage()).isBlank(), "an empty message");
    }
    Violation.unless(Memory.getByte(OUT + reply.length) == background, "written behind the reply");
    return reply;
  }
}
