package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Instant;

/**
 * Unsets the principal key of a database (pg_tde behaviour 4.5): if it has internal keys, they are
 * wrapped by the default key instead. The key stays in its provider.
 */
public record DeleteKey(Scope scope) {

  public void run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    directory.exclusively(
        () -> {
          delete(directory);
          return null;
        });
  }

  private void delete(KeyDirectory directory) throws KeyException {
    if (!scope.isDatabase()) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "the key of " + scope + " cannot be deleted");
    }
    RelationKeys keys = directory.relationKeys(scope.oid());
    if (!keys.hasHeader()) {
      throw new KeyException(
          Kind.REFUSED,
          "principal key does not exists for the database",
          scope + " has none of its own");
    }
    // both are fetched before the headers are locked
    keys.principal();
    directory.defaultKey().principal();
    directory.headers().lock();
    try {
      SignedHeader own = keys.header();
      SignedHeader fallback = directory.defaultKey().header();
      if (keys.removeIfEmpty()) {
        KeyDirectory.LOG.info("deleted the principal key of {}", scope);
        return;
      }
      PrincipalKey next = directory.defaultKey().principal();
      if (fallback == null || next == null || fallback.namesSameKey(own)) {
        throw new KeyException(
            Kind.IN_USE,
            "cannot delete principal key",
            "There are encrypted tables in the database.",
            fallback == null
                ? "Set default principal key as fallback option or decrypt all tables before"
                    + " deleting principal key."
                : null,
            keys.count() + " internal keys of " + scope + " need it",
            null);
      }
      keys.setPrincipal(next, Instant.now());
      KeyDirectory.LOG.info("{} uses the default key now", scope);
    } finally {
      directory.headers().unlock();
    }
  }
}
