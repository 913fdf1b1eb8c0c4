package io.pgveil.reader;

import java.security.MessageDigest;

/** Key material: compared in constant time, never shown. */
public final class Secret {
  private final byte[] data;

  private Secret(byte[] data) {
    this.data = data;
  }

  /** A copy of {@code data}. */
  public static Secret of(byte[] data) {
    return new Secret(data.clone());
  }

  /** Number of bytes. */
  public int size() {
    return data.length;
  }

  /** A copy of the key. */
  public byte[] toArray() {
    return data.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Secret secret && MessageDigest.isEqual(data, secret.data);
  }

  /** The size only: a hash of the content would reveal something about it. */
  @Override
  public int hashCode() {
    return data.length;
  }

  @Override
  public String toString() {
    return "Secret[" + data.length + " bytes]";
  }
}
