package io.pgveil.keys;

import org.jspecify.annotations.Nullable;

/** The cipher of an internal key, and the length of a principal key (pg_tde format, section 0). */
public enum CipherType {
  AES_128(0, 16),
  AES_256(1, 32);

  private final int code;
  private final int keySize;

  CipherType(int code, int keySize) {
    this.code = code;
    this.keySize = keySize;
  }

  /** The number in key files. */
  public int code() {
    return code;
  }

  /** Key length in bytes. */
  public int keySize() {
    return keySize;
  }

  /**
   * The cipher with this number.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static CipherType ofCode(int code) {
    CipherType type = find(code);
    if (type == null) {
      throw new IllegalArgumentException("unknown cipher " + code);
    }
    return type;
  }

  static @Nullable CipherType find(int code) {
    return switch (code) {
      case 0 -> AES_128;
      case 1 -> AES_256;
      default -> null;
    };
  }
}
