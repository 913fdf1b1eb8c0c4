package io.pgveil.keys;

import java.security.MessageDigest;
import java.util.Arrays;

/**
 * A principal key in memory. Counted by {@link PrincipalKeys}: each file that uses it holds one
 * count, and the key is cleared when the last lets go.
 */
final class PrincipalKey {
  /**
   * Where a principal key is found.
   *
   * @param owner OID of the provider's owner: a database, or 1664 for a global provider
   */
  record Id(int owner, int providerId, KeyName name) {
    static Id of(SignedHeader header) {
      int owner = header.providerId() < 0 ? Scope.SERVER.oid() : header.databaseId();
      return new Id(owner, header.providerId(), header.name());
    }
  }

  private final Id id;
  private final SecretMemory.Secret secret;

  /** Guarded by {@link PrincipalKeys}. */
  int users = 1;

  PrincipalKey(Id id, SecretMemory.Secret secret) {
    this.id = id;
    this.secret = secret;
  }

  Id id() {
    return id;
  }

  /** Length in bytes: 16 or 32. */
  int size() {
    return secret.size();
  }

  /** A copy of the key, which the caller clears. */
  byte[] copyKey() {
    return secret.copy();
  }

  boolean hasBytes(byte[] other) {
    byte[] mine = secret.copy();
    try {
      return MessageDigest.isEqual(mine, other);
    } finally {
      Arrays.fill(mine, (byte) 0);
    }
  }

  void clear() {
    secret.close();
  }

  @Override
  public String toString() {
    return "PrincipalKey[" + id.name() + "]";
  }
}
