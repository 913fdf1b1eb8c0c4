package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;

/**
 * Fetches a scope's principal key from its provider, past the cache, and compares it with the
 * signed header and with the cached key (pg_tde behaviour 4.7).
 */
public record VerifyKey(Scope scope) {

  public void run(KeyDirectory directory) throws KeyException {
    directory.exclusively(
        () -> {
          verify(directory);
          return null;
        });
  }

  private void verify(KeyDirectory directory) throws KeyException {
    KeyFile file = directory.keyFile(scope);
    SignedHeader header = file.header();
    if (header == null) {
      throw new KeyException(
          Kind.NOT_CONFIGURED,
          "principal key not configured for current database",
          "no principal key is set for " + scope);
    }
    PrincipalKey.Id id = PrincipalKey.Id.of(header);
    try (KeyMaterial material = directory.principalKeys().fetch(id, scope);
        KeyWrap wrap = new KeyWrap(material.bytes(), directory.random())) {
      if (!header.isSignedBy(wrap)) {
        throw PrincipalKeys.wrongKey(header, scope, directory.path(file.fileName));
      }
      PrincipalKey cached = file.principal();
      if (cached != null && !cached.hasBytes(material.bytes())) {
        throw new KeyException(
            Kind.WRONG_KEY, "key returned from keyring and cached in pg_tde differ");
      }
    }
  }
}
