package io.pgveil.ciphers;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Little-endian access to byte arrays, unaligned. */
final class Bytes {
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

  private Bytes() {}

  static long getLong(byte[] a, int offset) {
    return (long) LONG.get(a, offset);
  }

  static void putLong(byte[] a, int offset, long value) {
    LONG.set(a, offset, value);
  }

  static int getInt(byte[] a, int offset) {
    return (int) INT.get(a, offset);
  }

  static void putInt(byte[] a, int offset, int value) {
    INT.set(a, offset, value);
  }

  /** The unsigned 16-bit value. */
  static int getShort(byte[] a, int offset) {
    return (short) SHORT.get(a, offset) & 0xffff;
  }

  /** Whether {@code size} bytes, a multiple of 8, are all zero. */
  static boolean isZero(byte[] a, int offset, int size) {
    for (int i = offset; i < offset + size; i += 8) {
      if (getLong(a, i) != 0) {
        return false;
      }
    }
    return true;
  }

  /** {@code out = a XOR b}; {@code out} may be {@code a} or {@code b} at the same offset. */
  static void xor(byte[] a, int aOffset, byte[] b, int bOffset, byte[] out, int outOffset, int n) {
    int i = 0;
    // By words: the compiler cannot know that the arrays do not overlap, so it makes no vectors.
    for (; i <= n - 8; i += 8) {
      putLong(out, outOffset + i, getLong(a, aOffset + i) ^ getLong(b, bOffset + i));
    }
    for (; i < n; i++) {
      out[outOffset + i] = (byte) (a[aOffset + i] ^ b[bOffset + i]);
    }
  }
}
