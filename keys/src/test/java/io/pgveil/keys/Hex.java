package io.pgveil.keys;

import java.util.HexFormat;

/** The inputs of the specification's test vectors (pg_tde format, section 7). */
final class Hex {
  static final byte[] K128 = sequence(0x00, 16);
  static final byte[] K256 = sequence(0x00, 32);
  static final byte[] P128 = sequence(0x40, 16);
  static final byte[] P256 = sequence(0x40, 32);
  static final byte[] BASE_IV = sequence(0xf0, 16);
  static final byte[] ENTRY_IV = sequence(0x20, 16);
  static final byte[] SIGN_IV = sequence(0x10, 16);

  private Hex() {}

  static byte[] sequence(int first, int count) {
    byte[] bytes = new byte[count];
    for (int i = 0; i < count; i++) {
      bytes[i] = (byte) (first + i);
    }
    return bytes;
  }

  static byte[] of(String hex) {
    return HexFormat.of().parseHex(hex);
  }

  static String at(byte[] bytes, int from, int size) {
    return HexFormat.of().formatHex(bytes, from, from + size);
  }

  /** Where {@code needle} lies in {@code haystack}, or -1. */
  static int indexOf(byte[] haystack, byte[] needle) {
    outer:
    for (int i = 0; i + needle.length <= haystack.length; i++) {
      for (int j = 0; j < needle.length; j++) {
        if (haystack[i + j] != needle[j]) {
          continue outer;
        }
      }
      return i;
    }
    return -1;
  }
}
