package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Brings a principal key to another provider, under the same name, and lets every scope that uses
 * it take it from there. The copy at the old provider stays. pg_tde has nothing like it.
 *
 * <p>First the key is stored durably and read back. Then each file that names it is wrapped anew
 * and replaced atomically, the default key's last, as in {@link SetKey}. Both copies exist all the
 * while, so a crash at any point leaves every file readable; doing the same again completes it.
 *
 * <p>A key that is in use is not asked for at the old provider if it is in memory: a provider that
 * was lost while the server runs does not prevent it.
 *
 * @param owner whose provider the key is at now: a database, or {@link Scope#SERVER} for a global
 *     one
 * @param newOwner whose provider it goes to; a database's own only if no other scope uses the key
 */
public record MoveKey(
    @Nullable String keyName,
    Scope owner,
    @Nullable String providerName,
    Scope newOwner,
    @Nullable String newProviderName) {

  /** Returns the scopes that use the key and were switched; a second time there are none. */
  public List<Scope> run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    return directory.exclusively(() -> move(directory));
  }

  private List<Scope> move(KeyDirectory directory) throws KeyException {
    KeyName name = Arguments.keyName(keyName);
    ProviderRecord from = Arguments.provider(directory, owner, providerName);
    ProviderRecord to = Arguments.provider(directory, newOwner, newProviderName);
    if (from.equals(to)) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "cannot move key \"%s\": it is in key provider \"%s\" already".formatted(name, to.name()),
          "name another provider");
    }
    try (KeyMaterial key = present(directory, from, name)) {
      PrincipalKey next = bring(directory, to, key);
      try {
        return switchOver(directory, from, key.name(), next);
      } finally {
        directory.principalKeys().release(next);
      }
    }
  }

  /** The files that take the key from this provider, that of the default key last. */
  private List<KeyFile> users(KeyDirectory directory, ProviderRecord from, KeyName name)
      throws KeyException {
    List<KeyFile> users = new ArrayList<>();
    for (KeyFile file : directory.keyFiles()) {
      SignedHeader header = file.header();
      if (header != null && ChangeProvider.uses(header, from) && header.name().equals(name)) {
        if (!newOwner.equals(Scope.SERVER) && !newOwner.equals(file.scope)) {
          throw new KeyException(
              Kind.INVALID_ARGUMENT,
              "the key of %s cannot come from a key provider of %s".formatted(file.scope, newOwner),
              "move it to a global key provider");
        }
        users.add(file);
      }
    }
    if (users.remove(directory.defaultKey())) {
      users.add(directory.defaultKey());
    }
    return users;
  }

  /** The key as it is now, from memory or from its provider. Every file that uses it is ready. */
  private KeyMaterial present(KeyDirectory directory, ProviderRecord from, KeyName name)
      throws KeyException {
    PrincipalKey first = null;
    for (KeyFile file : users(directory, from, name)) {
      PrincipalKey used = file.principal();
      if (first != null && used != null && !sameBytes(first, used)) {
        throw new KeyException(
            Kind.WRONG_KEY,
            "key \"%s\" of key provider \"%s\" was replaced while it was in use"
                .formatted(name, from.name()),
            "%s uses other bytes under this name than others: set another key for it first"
                .formatted(file.scope));
      }
      first = used;
    }
    if (first != null) {
      return new KeyMaterial(name, first.copyKey());
    }
    Optional<KeyMaterial> unused;
    try {
      unused = directory.principalKeys().fetch(directory.providers().open(from), name);
    } catch (ProviderException e) {
      throw Providers.failed(e);
    }
    KeyMaterial material =
        unused.orElseThrow(
            () ->
                new KeyException(
                    Kind.NO_SUCH_KEY,
                    "key \"" + name + "\" does not exist",
                    "key provider \"%s\" was asked for it, and no scope uses it from there"
                        .formatted(from.name())));
    if (!material.name().equals(name)) {
      material.close();
      return present(directory, from, material.name());
    }
    return material;
  }

  private static boolean sameBytes(PrincipalKey one, PrincipalKey other) {
    try (KeyMaterial bytes = new KeyMaterial(one.id().name(), one.copyKey())) {
      return other.hasBytes(bytes.bytes());
    }
  }

  /** Stores the key unless it is there, and takes it in as the provider gives it back. */
  private static PrincipalKey bring(KeyDirectory directory, ProviderRecord to, KeyMaterial key)
      throws KeyException {
    try (KeyProvider provider = directory.providers().openAnew(to)) {
      if (!(provider instanceof KeyProvider.Storing storing)) {
        throw new KeyException(
            Kind.INVALID_ARGUMENT,
            "key provider \"" + to.name() + "\" takes no keys in",
            "make a new key there and set it");
      }
      ProviderException exists = null;
      try {
        storing.store(key.name(), key.bytes());
      } catch (ProviderException e) {
        if (e.code() != ProviderException.Code.EXISTS) {
          throw e;
        }
        exists = e;
      }
      Optional<KeyMaterial> found = directory.principalKeys().fetch(storing, key.name());
      if (found.isEmpty()) {
        throw exists != null
            ? exists
            : new ProviderException(
                ProviderException.Code.INVALID_RESPONSE,
                "key provider \"%s\" does not give key \"%s\" back"
                    .formatted(to.name(), key.name()));
      }
      try (KeyMaterial back = found.get()) {
        if (MessageDigest.isEqual(back.bytes(), key.bytes())) {
          return directory.principalKeys().adopt(to, back);
        }
      }
      throw new KeyException(
          Kind.DUPLICATE,
          "cannot move key \"%s\": key provider \"%s\" has another one of this name"
              .formatted(key.name(), to.name()),
          "nothing was changed; what uses the key stays where it is");
    } catch (ProviderException e) {
      throw Providers.failed(e);
    }
  }

  private List<Scope> switchOver(
      KeyDirectory directory, ProviderRecord from, KeyName name, PrincipalKey next)
      throws KeyException {
    List<Scope> switched = new ArrayList<>();
    directory.headers().lock();
    try {
      // again: a database may have taken the default key over meanwhile
      for (KeyFile file : users(directory, from, name)) {
        SignedHeader header = file.header();
        if (header != null) {
          // the key was set when it was set: that has not changed
          file.setPrincipal(next, header.created());
          if (!switched.contains(file.scope)) {
            switched.add(file.scope);
          }
        }
      }
    } finally {
      directory.headers().unlock();
    }
    KeyDirectory.LOG.info(
        "principal key {} is in the provider with id {} now, for {}",
        name,
        next.id().providerId(),
        switched);
    return switched;
  }
}
