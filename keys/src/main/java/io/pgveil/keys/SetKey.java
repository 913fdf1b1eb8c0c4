package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Sets the principal key of a scope: the first one, or another in its place, under which every
 * internal key is wrapped anew (pg_tde behaviour 4.3). Relation and WAL files are not touched, and
 * the old principal key stays in its provider.
 *
 * <p>Setting the default key rotates whatever uses the old one, each file by itself; then, if the
 * server has no key, the default becomes the server's. Each file is replaced atomically and names
 * its own principal key, so a crash between leaves all of them readable; doing the same again then
 * completes it, because the default key's own header is written last (pg_tde writes it first, and
 * would lose sight of the databases that were still to come).
 *
 * @param scope a database, {@link Scope#SERVER} or {@link Scope#DEFAULT}
 * @param owner whose provider: the database itself, or {@link Scope#SERVER} for a global one
 */
public record SetKey(
    Scope scope, Scope owner, @Nullable String providerName, @Nullable String keyName) {

  public void run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    directory.exclusively(
        () -> {
          set(directory);
          return null;
        });
  }

  private void set(KeyDirectory directory) throws KeyException {
    boolean global = owner.equals(Scope.SERVER);
    if (scope.oid() == 0) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "the shared relations have no principal key of their own",
          "set the server's");
    }
    if (!global && !owner.equals(scope)) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "a key of " + scope + " cannot come from a key provider of " + owner,
          "use a global key provider");
    }
    KeyName name = Arguments.keyName(keyName);
    ProviderRecord provider = Arguments.provider(directory, owner, providerName);
    KeyDirectory.LOG.info(
        "setting principal key {} of key provider {} for {}", name, provider.name(), scope);
    for (KeyFile file : targets(directory)) {
      file.principal();
    }
    PrincipalKey next = fetch(directory, provider, name);
    try {
      directory.headers().lock();
      try {
        // again: a database may have taken the default key over meanwhile
        Instant now = Instant.now();
        for (KeyFile file : targets(directory)) {
          file.setPrincipal(next, now);
        }
      } finally {
        directory.headers().unlock();
      }
    } finally {
      directory.principalKeys().release(next);
    }
    KeyDirectory.LOG.info("principal key of {} is now {}", scope, name);
  }

  /** The files to re-wrap, in this order. */
  private List<KeyFile> targets(KeyDirectory directory) throws KeyException {
    if (scope.equals(Scope.SERVER)) {
      return directory.serverFiles();
    }
    if (!scope.equals(Scope.DEFAULT)) {
      return List.of(directory.relationKeys(scope.oid()));
    }
    KeyFile defaultKey = directory.defaultKey();
    SignedHeader old = defaultKey.header();
    List<KeyFile> list = new ArrayList<>();
    SignedHeader server = directory.walKeys().header();
    boolean takesServer = server == null || server.namesSameKey(old);
    if (takesServer) {
      list.addAll(directory.serverFiles());
    }
    for (int oid : directory.databases()) {
      RelationKeys keys = directory.relationKeys(oid);
      SignedHeader header = keys.header();
      if (header != null && header.namesSameKey(old) && !list.contains(keys)) {
        list.add(keys);
      }
    }
    list.add(defaultKey);
    return list;
  }

  private PrincipalKey fetch(KeyDirectory directory, ProviderRecord provider, KeyName name)
      throws KeyException {
    Optional<KeyMaterial> found;
    try {
      found = directory.principalKeys().fetchForNewUse(directory.providers().open(provider), name);
    } catch (ProviderException e) {
      throw PrincipalKeys.retrievalFailed(name.toString(), provider, scope, e);
    }
    if (found.isEmpty()) {
      throw new KeyException(
          Kind.NO_SUCH_KEY,
          "key \"" + name + "\" does not exist",
          null,
          "Use pg_tde_create_key_using_%s_key_provider() to create it."
              .formatted(owner.equals(Scope.SERVER) ? "global" : "database"),
          "key provider \"" + provider.name() + "\" was asked for it",
          null);
    }
    try (KeyMaterial material = found.get()) {
      return directory.principalKeys().adopt(provider, material);
    }
  }
}
