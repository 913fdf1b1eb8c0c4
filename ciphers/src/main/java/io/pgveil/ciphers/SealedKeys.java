package io.pgveil.ciphers;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Mac;

/**
 * Derives the keys of one sealed file from a seal key by HKDF-Expand with SHA-256 (RFC 5869; the
 * seal key is uniformly random, so the extract step has nothing to do).
 *
 * <pre>
 *   file key   (64 bytes) = Expand(seal key, "pgveil/sealed/1/xts" || 00 || cipher || file id)
 *   header key (32 bytes) = Expand(seal key, "pgveil/sealed/1/header")
 * </pre>
 *
 * <p>The caller clears every key it is given.
 */
public final class SealedKeys {
  /** Bytes of a seal key. */
  public static final int SEAL_KEY = 32;

  /** Bytes of the id of a seal key or of a file. */
  public static final int ID = 16;

  private static final String HMAC = "HmacSHA256";
  private static final int HASH = 32;

  private static final byte[] FILE_LABEL =
      "pgveil/sealed/1/xts\0".getBytes(StandardCharsets.US_ASCII);
  private static final byte[] HEADER_LABEL =
      "pgveil/sealed/1/header".getBytes(StandardCharsets.US_ASCII);

  private SealedKeys() {}

  /**
   * The key for {@link SealedCipher}: data key, then tweak key.
   *
   * @param cipher the header's cipher number, {@link SealedHeader#AES_256_XTS}
   */
  public static byte[] fileKey(byte[] sealKey, int cipher, byte[] fileId) {
    checkSize("seal key", sealKey, SEAL_KEY);
    checkSize("file id", fileId, ID);
    if (cipher != SealedHeader.AES_256_XTS) {
      throw new IllegalArgumentException("unknown sealed-file cipher " + cipher);
    }
    byte[] info = new byte[FILE_LABEL.length + 1 + ID];
    System.arraycopy(FILE_LABEL, 0, info, 0, FILE_LABEL.length);
    info[FILE_LABEL.length] = (byte) cipher;
    System.arraycopy(fileId, 0, info, FILE_LABEL.length + 1, ID);
    return expand(sealKey, info, SealedCipher.KEY_SIZE);
  }

  /** The key of the header's HMAC-SHA256. */
  public static byte[] headerKey(byte[] sealKey) {
    checkSize("seal key", sealKey, SEAL_KEY);
    return expand(sealKey, HEADER_LABEL, 32);
  }

  static byte[] expand(byte[] key, byte[] info, int size) {
    // Not by javax.crypto.KDF: it leaves a copy of the key on the heap each time.
    try (Aes.Key prk = new Aes.Key(HMAC, key);
        Aes.Key zero = new Aes.Key(HMAC, new byte[HASH])) {
      Mac mac = Mac.getInstance(HMAC);
      mac.init(prk);
      byte[] out = new byte[size];
      byte[] block = new byte[0];
      for (int at = 0, i = 1; at < size; at += HASH, i++) {
        mac.update(block);
        mac.update(info);
        mac.update((byte) i);
        Arrays.fill(block, (byte) 0);
        block = mac.doFinal();
        System.arraycopy(block, 0, out, at, Math.min(HASH, size - at));
      }
      Arrays.fill(block, (byte) 0);
      // A Mac cannot be destroyed, but a new key makes it overwrite what it has of the old one.
      mac.init(zero);
      mac.doFinal();
      return out;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(HMAC + " is not available in this Java runtime", e);
    }
  }

  static void checkSize(String what, byte[] bytes, int size) {
    if (bytes.length != size) {
      throw new IllegalArgumentException(what + " of " + bytes.length + " bytes, want " + size);
    }
  }
}
