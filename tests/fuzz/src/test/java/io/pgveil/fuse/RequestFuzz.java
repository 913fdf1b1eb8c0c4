package io.pgveil.fuse;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.util.Arrays;

/**
 * Requests from the kernel, several one after the other. An input is a list of: what the file
 * system answers (1 byte), whether the kernel takes the reply and the length is put right (1 byte:
 * 1 the kernel refuses, 2 put right), length (2 bytes), request from its header on.
 *
 * <p>A request ends where its memory does and the room for the reply where its own does: what is
 * read or written behind is a fault of this process. Each is handled twice, over a buffer of zeros
 * and one of ones, and both replies must be equal: nothing that lay there before may reach the
 * kernel.
 */
public final class RequestFuzz {
  private static final int CAPACITY = 8192;
  private static final int ROOM = 16384;
  private static final int PAGE = 4096;

  private static final long IN = guarded(ROOM);
  private static final long OUT = guarded(PAGE + CAPACITY) + PAGE;
  private static final ScriptedFileSystem FILES = new ScriptedFileSystem(OUT, CAPACITY);

  private static final byte[] ZEROS = new byte[PAGE - 16];
  private static final byte[] ONES = new byte[PAGE - 16];

  static {
    Arrays.fill(ONES, (byte) 0xff);
  }

  private static byte[] reply;
  private static int replies;
  private static boolean refuse;

  private static final RequestDispatcher DISPATCHER =
      new RequestDispatcher(
          FILES, RequestFuzz::send, new OperationCounters(), OUT, OUT - 16, CAPACITY);

  private RequestFuzz() {}

  /** Memory behind which there is none. */
  private static long guarded(int size) {
    long address = Posix.mmapAnonymous(size + PAGE);
    Violation.unless(address > 0, "no memory");
    Violation.unless(Posix.munmap(address + size, PAGE) == 0, "no guard");
    return address;
  }

  private static long send(long address, int size) {
    Violation.unless(address == OUT - 16, "reply at another place");
    Violation.unless(size >= 16 && size <= 16 + CAPACITY, "reply of " + size + " bytes");
    replies++;
    reply = new byte[size];
    Memory.copyOut(address, reply, 0, size);
    return refuse ? -2 : size;
  }

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    for (int i = 0; i < 16 && !bits.isEmpty(); i++) {
      int script = bits.u8();
      int flags = bits.u8();
      byte[] request = bits.block();
      if (request.length > ROOM) {
        request = Arrays.copyOf(request, ROOM);
      }
      if ((flags & 2) != 0 && request.length >= 4) {
        putInt(request, 0, request.length);
      }
      refuse = (flags & 1) != 0;
      byte[] first = handle(request, script, 0);
      byte[] second = handle(request, script, 0xff);
      Violation.unless(
          Arrays.equals(first, second), "the reply shows what was in the buffer before");
    }
  }

  private static byte[] handle(byte[] request, int script, int background) {
    long at = IN + ROOM - request.length;
    Memory.copyIn(request, 0, at, request.length);
    Memory.fill(OUT - PAGE, PAGE + CAPACITY, background);
    FILES.begin(script, at, request.length);
    reply = null;
    replies = 0;
    DISPATCHER.dispatch(at, request.length);
    byte[] after = new byte[request.length];
    Memory.copyOut(at, after, 0, after.length);
    Violation.unless(Arrays.equals(request, after), "the request was changed");
    byte[] before = new byte[PAGE - 16];
    Memory.copyOut(OUT - PAGE, before, 0, before.length);
    Violation.unless(
        Arrays.equals(before, background == 0 ? ZEROS : ONES), "written before the reply");
    check(request);
    return reply;
  }

  private static void check(byte[] request) {
    if (request.length < 40) {
      Violation.unless(replies == 0, "an answer to nobody");
      return;
    }
    int opcode = getInt(request, 4);
    boolean silent = opcode == 2 || opcode == 41 || opcode == 42;
    Violation.unless(replies == (silent ? 0 : 1), replies + " replies to operation " + opcode);
    if (silent) {
      return;
    }
    Violation.unless(getInt(reply, 0) == reply.length, "a wrong length");
    Violation.unless(Arrays.equals(reply, 8, 16, request, 8, 16), "an answer to another request");
    int error = getInt(reply, 4);
    Violation.unless(error <= 0 && error >= -511, "error " + error);
    Violation.unless(error == 0 || reply.length == 16, "an error with a payload");
    if (error == 0 && (opcode == 15 || opcode == 28 || opcode == 44)) {
      Violation.unless(reply.length - 16 <= getInt(request, 40 + 16), "more than was asked for");
    }
  }

  static int getInt(byte[] b, int at) {
    return (b[at] & 0xff) | (b[at + 1] & 0xff) << 8 | (b[at + 2] & 0xff) << 16 | b[at + 3] << 24;
  }

  static void putInt(byte[] b, int at, int value) {
    for (int i = 0; i < 4; i++) {
      b[at + i] = (byte) (value >>> (8 * i));
    }
  }
}
