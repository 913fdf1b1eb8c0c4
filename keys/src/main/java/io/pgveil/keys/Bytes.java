package io.pgveil.keys;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Little-endian numbers and NUL-terminated text in byte arrays. */
final class Bytes {
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private Bytes() {}

  static int getInt(byte[] bytes, int at) {
    return (int) INT.get(bytes, at);
  }

  static void putInt(byte[] bytes, int at, int value) {
    INT.set(bytes, at, value);
  }

  static long getLong(byte[] bytes, int at) {
    return (long) LONG.get(bytes, at);
  }

  static void putLong(byte[] bytes, int at, long value) {
    LONG.set(bytes, at, value);
  }

  /** The bytes before the first NUL of a field; the whole field if it has none. */
  static byte[] untilNul(byte[] bytes, int at, int size) {
    int n = 0;
    while (n < size && bytes[at + n] != 0) {
      n++;
    }
    return Arrays.copyOfRange(bytes, at, at + n);
  }

  /** Text before the first NUL of a field. */
  static String getText(byte[] bytes, int at, int size) {
    return new String(untilNul(bytes, at, size), StandardCharsets.UTF_8);
  }

  /** Writes text and fills the field with zeros; the caller has checked that it fits. */
  static void putText(byte[] bytes, int at, int size, String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    Arrays.fill(bytes, at, at + size, (byte) 0);
    System.arraycopy(utf8, 0, bytes, at, utf8.length);
  }
}
