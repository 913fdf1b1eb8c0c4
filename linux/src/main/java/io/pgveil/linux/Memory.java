package io.pgveil.linux;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Reads and writes native memory by raw address, little-endian, unaligned.
 *
 * <p>There are no bounds: the caller guarantees that {@code [address, address + size)} is its own.
 */
public final class Memory {
  private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle ARRAY_LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private static final VarHandle SHARED_INT = ValueLayout.JAVA_INT.varHandle();

  private Memory() {}

  /** Allocates {@code size} zeroed bytes that live as long as the process. */
  public static long allocate(long size, long alignment) {
    return Arena.global().allocate(size, alignment).address();
  }

  public static long getLong(long address) {
    return ALL.get(LONG, address);
  }

  public static void putLong(long address, long value) {
    ALL.set(LONG, address, value);
  }

  public static int getInt(long address) {
    return ALL.get(INT, address);
  }

  public static void putInt(long address, int value) {
    ALL.set(INT, address, value);
  }

  /** Reads an aligned integer before everything that follows (acquire). */
  public static int getIntAcquire(long address) {
    return (int) SHARED_INT.getAcquire(ALL, address);
  }

  /** Writes an aligned integer after everything that came before (release). */
  public static void putIntRelease(long address, int value) {
    SHARED_INT.setRelease(ALL, address, value);
  }

  /** The unsigned 16-bit value at {@code address}. */
  public static int getShort(long address) {
    return ALL.get(SHORT, address) & 0xffff;
  }

  public static void putShort(long address, int value) {
    ALL.set(SHORT, address, (short) value);
  }

  /** The unsigned byte at {@code address}. */
  public static int getByte(long address) {
    return ALL.get(ValueLayout.JAVA_BYTE, address) & 0xff;
  }

  public static void putByte(long address, int value) {
    ALL.set(ValueLayout.JAVA_BYTE, address, (byte) value);
  }

  public static void copy(long from, long to, long size) {
    MemorySegment.copy(ALL, from, ALL, to, size);
  }

  public static void copyIn(byte[] from, int offset, long to, int size) {
    MemorySegment.copy(from, offset, ALL, ValueLayout.JAVA_BYTE, to, size);
  }

  public static void copyOut(long from, byte[] to, int offset, int size) {
    MemorySegment.copy(ALL, ValueLayout.JAVA_BYTE, from, to, offset, size);
  }

  public static void fill(long address, long size, int value) {
    if (size > 0) {
      ALL.asSlice(address, size).fill((byte) value);
    }
  }

  /** Whether all {@code size} bytes at {@code address} are zero. */
  public static boolean isZero(long address, long size) {
    long p = address;
    long end = address + size;
    for (; p + 8 <= end; p += 8) {
      if (ALL.get(LONG, p) != 0) {
        return false;
      }
    }
    for (; p < end; p++) {
      if (ALL.get(ValueLayout.JAVA_BYTE, p) != 0) {
        return false;
      }
    }
    return true;
  }

  /** Whether {@code bytes[offset .. offset+size)} are all zero. */
  public static boolean isZero(byte[] bytes, int offset, int size) {
    int p = offset;
    int end = offset + size;
    for (; p + 8 <= end; p += 8) {
      if ((long) ARRAY_LONG.get(bytes, p) != 0) {
        return false;
      }
    }
    for (; p < end; p++) {
      if (bytes[p] != 0) {
        return false;
      }
    }
    return true;
  }

  /** Whether the two memory areas hold the same bytes. */
  public static boolean isEqual(long a, long b, long size) {
    return MemorySegment.mismatch(ALL, a, a + size, ALL, b, b + size) < 0;
  }

  /** Offset of the first byte that differs, or -1. */
  public static long mismatch(long a, long b, long size) {
    return MemorySegment.mismatch(ALL, a, a + size, ALL, b, b + size);
  }

  /** Length of the NUL-terminated string at {@code address}, looking at most {@code max} bytes. */
  public static int stringLength(long address, int max) {
    int n = 0;
    while (n < max && getByte(address + n) != 0) {
      n++;
    }
    return n;
  }

  /** The byte string of {@code size} bytes at {@code address}. */
  public static String getString(long address, int size) {
    byte[] bytes = new byte[size];
    copyOut(address, bytes, 0, size);
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  /** Writes a byte string and a NUL; returns the bytes written with the NUL. */
  public static int putString(long address, String byteString) {
    int n = byteString.length();
    for (int i = 0; i < n; i++) {
      putByte(address + i, byteString.charAt(i));
    }
    putByte(address + n, 0);
    return n + 1;
  }

  /** A view of native memory as a segment, for APIs that want one. */
  public static MemorySegment segment(long address, long size) {
    return ALL.asSlice(address, size);
  }
}
