package io.pgveil.fuzz;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Takes an input apart: numbers and texts from its front, and what is left at the end. An input
 * that is too short reads as zeros, so that every input means something.
 */
public final class Bits {
  private final byte[] input;
  private int at;

  public Bits(byte[] input) {
    this.input = input;
  }

  /** One byte, 0 to 255. */
  public int u8() {
    return at < input.length ? input[at++] & 0xff : 0;
  }

  /** Two bytes, little-endian. */
  public int u16() {
    return u8() | u8() << 8;
  }

  /** Four bytes, little-endian. */
  public int i32() {
    return u16() | u16() << 16;
  }

  /** Eight bytes, little-endian. */
  public long i64() {
    return Integer.toUnsignedLong(i32()) | (long) i32() << 32;
  }

  /** At most {@code max} bytes; fewer at the end of the input. */
  public byte[] bytes(int max) {
    int to = Math.min(input.length, at + max);
    byte[] b = Arrays.copyOfRange(input, at, to);
    at = to;
    return b;
  }

  /** A length of two bytes, then as many bytes. */
  public byte[] block() {
    return bytes(u16());
  }

  /** Everything that is left. */
  public byte[] rest() {
    return bytes(input.length - at);
  }

  /** The rest as text, one char for each byte. */
  public String text() {
    return new String(rest(), StandardCharsets.ISO_8859_1);
  }

  public boolean isEmpty() {
    return at >= input.length;
  }
}
