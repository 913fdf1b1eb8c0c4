package io.pgveil.keys;

import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * AES-GCM under one principal key, as key files use it: IV and tag of 16 bytes (NIST SP 800-38D; an
 * IV of 16 bytes goes through GHASH), the tag apart from the ciphertext.
 *
 * <p>For one thread, for the time of one operation: {@link #close} makes the JDK overwrite what it
 * derived from the key.
 */
final class KeyWrap implements AutoCloseable {
  static final int IV_SIZE = 16;
  static final int TAG_SIZE = 16;

  private final Cipher cipher;
  private final RawKey key;
  private final SecureRandom random;
  private boolean closed;

  /** The caller clears {@code key} itself. */
  KeyWrap(byte[] key, SecureRandom random) {
    this.key = new RawKey(key.clone());
    this.random = random;
    try {
      cipher = Cipher.getInstance("AES/GCM/NoPadding");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("this JDK has no AES-GCM", e);
    }
  }

  KeyWrap(PrincipalKey principal, SecureRandom random) {
    byte[] bytes = principal.copyKey();
    this(bytes, random);
    Arrays.fill(bytes, (byte) 0);
  }

  /**
   * Wraps {@code secret} into the entry at {@code at} of {@code file} under a new IV; the bytes
   * that are AAD are there already, bytes of the field behind a shorter key become zero.
   */
  void wrap(EntryLayout layout, byte[] file, int at, byte[] secret) {
    byte[] iv = new byte[IV_SIZE];
    random.nextBytes(iv);
    wrap(layout, file, at, secret, iv);
  }

  void wrap(EntryLayout layout, byte[] file, int at, byte[] secret, byte[] iv) {
    byte[] sealed = seal(iv, file, at, layout.aadSize, secret);
    System.arraycopy(iv, 0, file, at + layout.ivAt, IV_SIZE);
    System.arraycopy(sealed, 0, file, at + layout.wrappedAt, secret.length);
    System.arraycopy(sealed, secret.length, file, at + layout.tagAt, TAG_SIZE);
    if (layout == EntryLayout.RELATION_4 || layout == EntryLayout.WAL_2) {
      Arrays.fill(file, at + layout.wrappedAt + secret.length, at + layout.size, (byte) 0);
    }
  }

  /** The key of {@code size} bytes in the entry at {@code at}, or null if the tag is wrong. */
  byte @Nullable [] unwrap(EntryLayout layout, byte[] file, int at, int size) {
    byte[] sealed = new byte[size + TAG_SIZE];
    System.arraycopy(file, at + layout.wrappedAt, sealed, 0, size);
    System.arraycopy(file, at + layout.tagAt, sealed, size, TAG_SIZE);
    return open(file, at + layout.ivAt, file, at, layout.aadSize, sealed);
  }

  /** Ciphertext of {@code clear} followed by the tag. */
  byte[] seal(byte[] iv, byte[] aad, int aadAt, int aadSize, byte[] clear) {
    try {
      cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(8 * TAG_SIZE, iv));
      cipher.updateAAD(aad, aadAt, aadSize);
      return cipher.doFinal(clear);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed", e);
    }
  }

  /** The clear bytes, or null if the tag behind {@code sealed} is wrong. */
  byte @Nullable [] open(byte[] iv, int ivAt, byte[] aad, int aadAt, int aadSize, byte[] sealed) {
    try {
      cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(8 * TAG_SIZE, iv, ivAt, IV_SIZE));
      cipher.updateAAD(aad, aadAt, aadSize);
      return cipher.doFinal(sealed);
    } catch (AEADBadTagException e) {
      return null;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed", e);
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    key.destroy();
    // the JDK keeps the last key of an encryption, and its schedule, until another one comes
    byte[] iv = new byte[IV_SIZE];
    try {
      cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(8 * TAG_SIZE, iv));
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed", e);
    }
  }

  /** A key that can be cleared, unlike {@code SecretKeySpec}. */
  private static final class RawKey implements SecretKey {
    private static final long serialVersionUID = 1L;
    private final transient byte[] bytes;

    RawKey(byte[] bytes) {
      this.bytes = bytes;
    }

    @Override
    public String getAlgorithm() {
      return "AES";
    }

    @Override
    public String getFormat() {
      return "RAW";
    }

    /** The receiver clears the copy. */
    @Override
    public byte[] getEncoded() {
      return bytes.clone();
    }

    @Override
    public void destroy() {
      Arrays.fill(bytes, (byte) 0);
    }

    @Override
    public String toString() {
      return "RawKey";
    }
  }
}
