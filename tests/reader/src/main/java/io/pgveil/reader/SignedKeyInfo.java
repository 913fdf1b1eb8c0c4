package io.pgveil.reader;

/**
 * Signed principal-key info (spec 1.3), 312 bytes; it names the principal key that wraps a file's
 * entries.
 *
 * <pre>
 * 0      4  database OID (1663 default key, 1664 server key)
 * 4      4  key provider id, signed: negative = global
 * 8      8  time the key was set, Unix seconds
 * 16     8  and microseconds
 * 24   256  key name, NUL-terminated
 * 280   16  IV of the signature
 * 296   16  tag: AES-GCM of nothing under the principal key, AAD = bytes 0..279
 * </pre>
 *
 * @param signedBytes bytes 0..279 as stored
 */
public record SignedKeyInfo(
    long databaseId,
    int keyringId,
    long seconds,
    long microseconds,
    String name,
    Bytes signedBytes,
    Bytes signIv,
    Bytes tag) {
  static final int SIZE = 312;
  static final long SERVER = 1664;

  static SignedKeyInfo parse(Source in, int at, long expectedDatabaseId) {
    long databaseId = in.u32(at);
    in.require(
        databaseId == expectedDatabaseId, at, "database OID " + expectedDatabaseId, databaseId);
    int keyringId = in.i32(at + 4);
    in.require(keyringId != 0, at + 4, "a key provider id", keyringId);
    long microseconds = in.u64(at + 16);
    in.require(
        microseconds >= 0 && microseconds < 1_000_000,
        at + 16,
        "microseconds below 1000000",
        microseconds);
    String name = in.text(at + 24, 256, "key name");
    in.require(!name.isEmpty(), at + 24, "a key name", "an empty one");
    return new SignedKeyInfo(
        databaseId,
        keyringId,
        in.u64(at + 8),
        microseconds,
        name,
        in.bytes(at, 280),
        in.bytes(at + 280, 16),
        in.bytes(at + 296, 16));
  }

  /** Whether this info was signed with {@code principalKey} and not changed since. */
  public boolean isSignedBy(Secret principalKey) {
    return Aes.gcmOpen(principalKey, signIv, signedBytes, new byte[0], tag).isPresent();
  }
}
