package io.pgveil.keys;

import org.jspecify.annotations.Nullable;

/**
 * What is known of a scope's principal key (pg_tde behaviour 4.7). Fetches the key, if that has not
 * happened, so that what it tells is checked; {@link PrincipalKeys#info} does not.
 */
public record KeyInfo(Scope scope) {

  /** Null if no key is set. */
  public PrincipalKeys.@Nullable Info run(KeyDirectory directory) throws KeyException {
    directory.principalKeys().load(scope);
    return directory.principalKeys().info(scope);
  }
}
