package io.pgveil.reader;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Optional;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** The primitives of the formats, each written out as its standard defines it. */
final class Aes {
  private static final int BLOCK = 16;

  private Aes() {}

  /**
   * AES-GCM (NIST SP 800-38D) with a 16-byte IV and a 16-byte tag that is stored apart.
   *
   * @return the plaintext, or empty when the tag does not fit key, IV, AAD and ciphertext
   */
  static Optional<byte[]> gcmOpen(Secret key, Bytes iv, Bytes aad, byte[] ciphertext, Bytes tag) {
    byte[] sealed = new byte[ciphertext.length + tag.size()];
    System.arraycopy(ciphertext, 0, sealed, 0, ciphertext.length);
    System.arraycopy(tag.toArray(), 0, sealed, ciphertext.length, tag.size());
    try {
      Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
      cipher.init(Cipher.DECRYPT_MODE, aesKey(key), new GCMParameterSpec(128, iv.toArray()));
      cipher.updateAAD(aad.toArray());
      return Optional.of(cipher.doFinal(sealed));
    } catch (AEADBadTagException wrongKeyOrContent) {
      return Optional.empty();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /** AES-CBC decryption (NIST SP 800-38A) without padding. */
  static byte[] cbcDecrypt(Secret key, byte[] iv, byte[] ciphertext) {
    try {
      Cipher cipher = Cipher.getInstance("AES/CBC/NoPadding");
      cipher.init(Cipher.DECRYPT_MODE, aesKey(key), new IvParameterSpec(iv));
      return cipher.doFinal(ciphertext);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /** AES on each block of 16 bytes by itself. */
  static byte[] encryptBlocks(Secret key, byte[] blocks) {
    return ecb(Cipher.ENCRYPT_MODE, key, blocks);
  }

  private static byte[] ecb(int mode, Secret key, byte[] blocks) {
    try {
      Cipher cipher = Cipher.getInstance("AES/ECB/NoPadding");
      cipher.init(mode, aesKey(key));
      return cipher.doFinal(blocks);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * AES-XTS decryption (IEEE 1619) of one data unit, a multiple of 16 bytes. The tweak is the unit
   * number as a 128-bit little-endian integer.
   */
  static byte[] xtsDecrypt(Secret dataKey, Secret tweakKey, long unit, byte[] ciphertext) {
    byte[] number = new byte[BLOCK];
    for (int i = 0; i < 8; i++) {
      number[i] = (byte) (unit >>> (8 * i));
    }
    byte[] tweak = encryptBlocks(tweakKey, number);
    byte[] tweaks = new byte[ciphertext.length];
    for (int at = 0; at < tweaks.length; at += BLOCK) {
      System.arraycopy(tweak, 0, tweaks, at, BLOCK);
      tweak = timesAlpha(tweak);
    }
    return xor(ecb(Cipher.DECRYPT_MODE, dataKey, xor(ciphertext, tweaks)), tweaks);
  }

  /** The product with alpha in GF(2^128), little-endian, modulo x^128 + x^7 + x^2 + x + 1. */
  private static byte[] timesAlpha(byte[] tweak) {
    byte[] product = new byte[BLOCK];
    int carry = 0;
    for (int i = 0; i < BLOCK; i++) {
      int doubled = (Byte.toUnsignedInt(tweak[i]) << 1) | carry;
      product[i] = (byte) doubled;
      carry = doubled >> 8;
    }
    if (carry == 1) {
      product[0] ^= (byte) 0x87;
    }
    return product;
  }

  private static byte[] xor(byte[] a, byte[] b) {
    byte[] result = new byte[a.length];
    for (int i = 0; i < a.length; i++) {
      result[i] = (byte) (a[i] ^ b[i]);
    }
    return result;
  }

  /** HMAC-SHA-256 (RFC 2104) of the concatenated parts. */
  static byte[] hmac(Secret key, byte[]... parts) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key.toArray(), "HmacSHA256"));
      for (byte[] part : parts) {
        mac.update(part);
      }
      return mac.doFinal();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /** HKDF-Expand with SHA-256 (RFC 5869 section 2.3): T(i) = HMAC(key, T(i-1) || info || i). */
  static byte[] hkdfExpand(Secret key, byte[] info, int length) {
    byte[] output = new byte[length];
    byte[] block = {};
    int done = 0;
    for (int i = 1; done < length; i++) {
      block = hmac(key, block, info, new byte[] {(byte) i});
      int n = Math.min(block.length, length - done);
      System.arraycopy(block, 0, output, done, n);
      done += n;
    }
    return output;
  }

  static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static SecretKeySpec aesKey(Secret key) {
    return new SecretKeySpec(key.toArray(), "AES");
  }
}
