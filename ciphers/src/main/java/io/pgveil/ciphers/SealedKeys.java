package io.pgveil.ciphers;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import javax.crypto.KDF;
import javax.crypto.spec.HKDFParameterSpec;

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
    try (Aes.Key prk = new Aes.Key("HKDF-SHA256", key)) {
      return KDF.getInstance("HKDF-SHA256")
          .deriveData(HKDFParameterSpec.expandOnly(prk, info, size));
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("HKDF-SHA256 is not available in this Java runtime", e);
    }
  }

  static void checkSize(String what, byte[] bytes, int size) {
    if (bytes.length != size) {
      throw new IllegalArgumentException(what + " of " + bytes.length + " bytes, want " + size);
    }
  }
}
