package io.pgveil.keys;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The name of a principal key: 1 to 255 bytes, none of them 0.
 *
 * <p>Bytes and not text, because a key set by pg_tde in a database of another encoding than UTF-8
 * must be found under the very bytes that its header holds.
 */
public final class KeyName {
  /** Length of the field in key files and in the file keyring, in bytes, with the final NUL. */
  public static final int FIELD_SIZE = 256;

  private final byte[] bytes;

  private KeyName(byte[] bytes) {
    this.bytes = bytes;
  }

  /**
   * The UTF-8 bytes of {@code text}.
   *
   * @throws IllegalArgumentException if it is empty, too long or holds a NUL
   */
  public static KeyName of(String text) {
    return of(text.getBytes(StandardCharsets.UTF_8));
  }

  /** See {@link #of(String)}. */
  public static KeyName of(byte[] bytes) {
    if (bytes.length == 0 || bytes.length >= FIELD_SIZE) {
      throw new IllegalArgumentException("a key name has 1 to 255 bytes, not " + bytes.length);
    }
    for (byte b : bytes) {
      if (b == 0) {
        throw new IllegalArgumentException("a key name holds no NUL");
      }
    }
    return new KeyName(bytes.clone());
  }

  /** A copy of the bytes, without NUL. */
  public byte[] bytes() {
    return bytes.clone();
  }

  /** Whether the names are equal when ASCII letter case is ignored. */
  public boolean equalsIgnoreCase(KeyName other) {
    if (bytes.length != other.bytes.length) {
      return false;
    }
    for (int i = 0; i < bytes.length; i++) {
      if (lower(bytes[i]) != lower(other.bytes[i])) {
        return false;
      }
    }
    return true;
  }

  private static int lower(byte b) {
    return b >= 'A' && b <= 'Z' ? b + 32 : b;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof KeyName name && Arrays.equals(bytes, name.bytes);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bytes);
  }

  /** As text, for messages. */
  @Override
  public String toString() {
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
