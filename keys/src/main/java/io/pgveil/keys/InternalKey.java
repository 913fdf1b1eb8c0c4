package io.pgveil.keys;

import java.security.SecureRandom;
import java.util.Arrays;

/**
 * The data key of one relation or of one WAL range, with its base IV of 16 bytes.
 *
 * <p>Shared by everyone who uses the relation; safe for use by several threads.
 */
public final class InternalKey {
  /** Length of a base IV in bytes. */
  public static final int BASE_IV_SIZE = 16;

  private final CipherType cipher;
  private final byte[] key;
  private final byte[] baseIv;
  private boolean destroyed;

  /** Takes {@code key} and {@code baseIv} over. */
  InternalKey(CipherType cipher, byte[] key, byte[] baseIv) {
    if (key.length != cipher.keySize() || baseIv.length != BASE_IV_SIZE) {
      throw new IllegalArgumentException("wrong length of key or base IV");
    }
    this.cipher = cipher;
    this.key = key;
    this.baseIv = baseIv;
  }

  /** A new random key that is kept in memory alone. */
  public static InternalKey generate(CipherType cipher) {
    return random(cipher, new SecureRandom());
  }

  static InternalKey random(CipherType cipher, SecureRandom random) {
    byte[] key = new byte[cipher.keySize()];
    byte[] baseIv = new byte[BASE_IV_SIZE];
    random.nextBytes(key);
    random.nextBytes(baseIv);
    return new InternalKey(cipher, key, baseIv);
  }

  public CipherType cipher() {
    return cipher;
  }

  /**
   * A copy of the key, which the caller clears.
   *
   * @throws IllegalStateException if the key was destroyed
   */
  public synchronized byte[] copyKey() {
    if (destroyed) {
      throw new IllegalStateException("the internal key was destroyed");
    }
    return key.clone();
  }

  public byte[] copyBaseIv() {
    return baseIv.clone();
  }

  /** Clears the key. */
  public synchronized void destroy() {
    destroyed = true;
    Arrays.fill(key, (byte) 0);
  }

  @Override
  public String toString() {
    return "InternalKey[" + cipher + "]";
  }
}
