package io.pgveil.reader;

import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HexFormat;

/** The golden files, and small help with bytes. */
final class Golden {
  private Golden() {}

  static byte[] bytes(String name) throws IOException {
    try (InputStream in = Golden.class.getResourceAsStream("/golden/" + name)) {
      if (in == null) {
        throw new IOException("no golden file " + name);
      }
      return in.readAllBytes();
    }
  }

  static Keyring keyring() throws IOException {
    return Keyring.parse("keyring.file", bytes("keyring.file"));
  }

  static Secret key(String name) throws IOException {
    return keyring().find(name).orElseThrow();
  }

  static RelationKeyFile relationKeys(String name) throws IOException {
    return RelationKeyFile.parse(name, bytes("stored/pg_tde/" + name));
  }

  static WalKeyFile walKeys() throws IOException {
    return WalKeyFile.parse("wal_keys", bytes("stored/pg_tde/wal_keys"));
  }

  static byte[] hex(String hex) {
    return HexFormat.of().parseHex(hex.replace(" ", ""));
  }

  /** A copy with one bit of byte {@code at} changed. */
  static byte[] flipped(byte[] content, int at) {
    byte[] copy = content.clone();
    copy[at] ^= 1;
    return copy;
  }

  /** The bytes {@code first}, {@code first + 1}, ... */
  static byte[] counting(int first, int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (first + i);
    }
    return bytes;
  }

  static byte[] slice(byte[] content, int from, int length) {
    return Arrays.copyOfRange(content, from, from + length);
  }
}
