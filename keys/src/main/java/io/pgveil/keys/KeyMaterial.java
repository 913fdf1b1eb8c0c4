package io.pgveil.keys;

import java.util.Arrays;

/** The bytes of a principal key on their way from a provider; {@link #close} clears them. */
public final class KeyMaterial implements AutoCloseable {
  private final KeyName name;
  private final byte[] bytes;

  /**
   * @param name the name as the provider stores it
   * @param bytes the key, of any length (the receiver checks it); taken over
   */
  public KeyMaterial(KeyName name, byte[] bytes) {
    this.name = name;
    this.bytes = bytes;
  }

  KeyName name() {
    return name;
  }

  /** The bytes themselves, not a copy. */
  public byte[] bytes() {
    return bytes;
  }

  @Override
  public void close() {
    Arrays.fill(bytes, (byte) 0);
  }

  @Override
  public String toString() {
    return "KeyMaterial[" + name + "]";
  }
}
