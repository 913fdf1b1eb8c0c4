package io.pgveil.keys;

import java.security.SecureRandom;
import java.time.Instant;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The signed principal-key info that every key file begins with (pg_tde format 1.3), {@value #SIZE}
 * bytes:
 *
 * <pre>
 *   0   4  database OID (1663 default key, 1664 server, 0 shared relations)
 *   4   4  provider id, signed; negative for a global provider
 *   8   8  when the key was set here, Unix seconds
 *  16   8  and microseconds
 *  24 256  key name, NUL-terminated
 * 280  16  IV
 * 296  16  AES-GCM tag of nothing, under the principal key, with bytes 0..279 as AAD
 * </pre>
 */
final class SignedHeader {
  static final int SIZE = 312;
  static final int INFO_SIZE = 280;
  private static final int NAME_AT = 24;
  private static final int IV_AT = 280;
  private static final int TAG_AT = 296;
  private static final byte[] NOTHING = new byte[0];

  private final byte[] bytes;
  private final KeyName name;

  private SignedHeader(byte[] bytes, KeyName name) {
    this.bytes = bytes;
    this.name = name;
  }

  /** Reads {@value #SIZE} bytes at {@code at}; null if the name is empty or has no end. */
  static @Nullable SignedHeader read(byte[] file, int at) {
    byte[] bytes = Arrays.copyOfRange(file, at, at + SIZE);
    byte[] name = Bytes.untilNul(bytes, NAME_AT, KeyName.FIELD_SIZE);
    if (name.length == 0 || name.length == KeyName.FIELD_SIZE) {
      return null;
    }
    return new SignedHeader(bytes, KeyName.of(name));
  }

  static SignedHeader sign(
      int databaseId, int providerId, KeyName name, Instant created, KeyWrap key, byte[] iv) {
    byte[] bytes = new byte[SIZE];
    Bytes.putInt(bytes, 0, databaseId);
    Bytes.putInt(bytes, 4, providerId);
    Bytes.putLong(bytes, 8, created.getEpochSecond());
    Bytes.putLong(bytes, 16, created.getNano() / 1000);
    byte[] n = name.bytes();
    System.arraycopy(n, 0, bytes, NAME_AT, n.length);
    System.arraycopy(iv, 0, bytes, IV_AT, KeyWrap.IV_SIZE);
    byte[] tag = key.seal(iv, bytes, 0, INFO_SIZE, NOTHING);
    System.arraycopy(tag, 0, bytes, TAG_AT, KeyWrap.TAG_SIZE);
    return new SignedHeader(bytes, name);
  }

  static SignedHeader sign(
      int databaseId, PrincipalKey principal, Instant created, SecureRandom random) {
    byte[] iv = new byte[KeyWrap.IV_SIZE];
    random.nextBytes(iv);
    try (KeyWrap key = new KeyWrap(principal, random)) {
      return sign(databaseId, principal.id().providerId(), principal.id().name(), created, key, iv);
    }
  }

  /** Whether {@code key} signed this header. */
  boolean isSignedBy(KeyWrap key) {
    byte[] tag = Arrays.copyOfRange(bytes, TAG_AT, SIZE);
    return key.open(bytes, IV_AT, bytes, 0, INFO_SIZE, tag) != null;
  }

  int databaseId() {
    return Bytes.getInt(bytes, 0);
  }

  int providerId() {
    return Bytes.getInt(bytes, 4);
  }

  /** When the key was set for this scope; the epoch if the field holds nonsense. */
  Instant created() {
    long seconds = Bytes.getLong(bytes, 8);
    long micros = Bytes.getLong(bytes, 16);
    if (seconds < 0 || seconds > Instant.MAX.getEpochSecond() || micros < 0 || micros > 999_999) {
      return Instant.EPOCH;
    }
    return Instant.ofEpochSecond(seconds, micros * 1000);
  }

  KeyName name() {
    return name;
  }

  /** Whether both name the same principal key: name and provider id. */
  boolean namesSameKey(@Nullable SignedHeader other) {
    return other != null && providerId() == other.providerId() && name.equals(other.name);
  }

  void write(byte[] file, int at) {
    System.arraycopy(bytes, 0, file, at, SIZE);
  }
}
