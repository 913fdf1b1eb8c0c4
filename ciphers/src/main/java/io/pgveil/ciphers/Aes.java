package io.pgveil.ciphers;

import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import javax.crypto.spec.IvParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * One AES key schedule in one mode and direction, over whole blocks of 16 bytes.
 *
 * <p>CBC starts every call with a zero IV; callers XOR their IV into the first clear block. A
 * {@link Cipher} that is initialised once and always finished with {@code doFinal} allocates
 * nothing, as long as input and output are different arrays (in one array it copies the input).
 */
final class Aes implements AutoCloseable {
  static final int BLOCK = 16;

  private @Nullable Cipher cipher;

  private Aes(String mode, int direction, byte[] key, @Nullable IvParameterSpec iv) {
    try (Key k = new Key("AES", key)) {
      Cipher c = Cipher.getInstance("AES/" + mode + "/NoPadding");
      c.init(direction, k, iv);
      cipher = c;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES/" + mode + " is not available in this Java runtime", e);
    }
  }

  static Aes ecbEncrypt(byte[] key) {
    return new Aes("ECB", Cipher.ENCRYPT_MODE, key, null);
  }

  static Aes ecbDecrypt(byte[] key) {
    return new Aes("ECB", Cipher.DECRYPT_MODE, key, null);
  }

  static Aes cbcEncrypt(byte[] key) {
    return new Aes("CBC", Cipher.ENCRYPT_MODE, key, new IvParameterSpec(new byte[BLOCK]));
  }

  static Aes cbcDecrypt(byte[] key) {
    return new Aes("CBC", Cipher.DECRYPT_MODE, key, new IvParameterSpec(new byte[BLOCK]));
  }

  /** The key length in bytes is 16 or 32, as pg_tde's aes_128 and aes_256. */
  static void checkKeyAndIv(byte[] key, byte[] baseIv) {
    if (key.length != 16 && key.length != 32) {
      throw new IllegalArgumentException("AES key of " + key.length + " bytes, want 16 or 32");
    }
    if (baseIv.length != BLOCK) {
      throw new IllegalArgumentException("base IV of " + baseIv.length + " bytes, want 16");
    }
  }

  /** Processes {@code size} bytes (a multiple of 16) from one array to another array. */
  void run(byte[] in, int inOffset, int size, byte[] out, int outOffset) {
    Cipher c = cipher;
    if (c == null) {
      throw new IllegalStateException("the cipher is closed");
    }
    try {
      c.doFinal(in, inOffset, size, out, outOffset);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES failed over " + size + " bytes", e);
    }
  }

  @Override
  public void close() {
    Cipher c = cipher;
    cipher = null;
    if (c == null) {
      return;
    }
    // A Cipher cannot be destroyed, but a new key makes it overwrite the old schedule.
    try (Key zero = new Key("AES", new byte[32])) {
      c.init(Cipher.ENCRYPT_MODE, zero);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES did not accept a new key", e);
    }
  }

  /** A key whose only long-lived copy is cleared; {@code SecretKeySpec} cannot be. */
  static final class Key implements SecretKey, AutoCloseable {
    private static final long serialVersionUID = 1;

    private final String algorithm;
    private final transient byte[] bytes;

    Key(String algorithm, byte[] bytes) {
      this.algorithm = algorithm;
      this.bytes = bytes.clone();
    }

    @Override
    public String getAlgorithm() {
      return algorithm;
    }

    @Override
    public String getFormat() {
      return "RAW";
    }

    @Override
    public byte[] getEncoded() {
      return bytes.clone();
    }

    @Override
    public void close() {
      Arrays.fill(bytes, (byte) 0);
    }
  }
}
