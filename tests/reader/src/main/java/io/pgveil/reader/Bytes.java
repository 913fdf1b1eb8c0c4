package io.pgveil.reader;

import java.util.Arrays;
import java.util.HexFormat;

/** An immutable byte string that is no secret (an IV, a tag, a ciphertext): equal by content. */
public final class Bytes {
  private final byte[] data;

  private Bytes(byte[] data) {
    this.data = data;
  }

  /** A copy of {@code data}. */
  public static Bytes of(byte[] data) {
    return new Bytes(data.clone());
  }

  /** The bytes of lower-case or upper-case hexadecimal text without separators. */
  public static Bytes ofHex(String hex) {
    return new Bytes(HexFormat.of().parseHex(hex));
  }

  /** Number of bytes. */
  public int size() {
    return data.length;
  }

  /** A copy of the bytes. */
  public byte[] toArray() {
    return data.clone();
  }

  /** Whether every byte is zero. */
  public boolean isZero() {
    return Source.isZero(data, 0, data.length);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Bytes bytes && Arrays.equals(data, bytes.data);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(data);
  }

  /** Lower-case hexadecimal. */
  @Override
  public String toString() {
    return HexFormat.of().formatHex(data);
  }
}
