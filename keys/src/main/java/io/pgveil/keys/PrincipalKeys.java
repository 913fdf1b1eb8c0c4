package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The principal keys of all scopes, fetched once and kept while a key file names them.
 *
 * <p>The monitor guards the cache and the user counts; it is never held while a provider is asked.
 */
public final class PrincipalKeys {
  /**
   * What a header says of its principal key.
   *
   * @param created when the key was set for the scope, to the microsecond
   */
  public record Info(String name, int providerId, @Nullable String providerName, Instant created) {}

  private final KeyDirectory directory;
  private final Providers providers;
  private final SecretMemory memory;
  private final Map<PrincipalKey.Id, PrincipalKey> cache = new HashMap<>();

  /** One lock per principal key, so that those who want the same one make one request. */
  private final ConcurrentHashMap<PrincipalKey.Id, Object> requests = new ConcurrentHashMap<>();

  private final AtomicLong fetches = new AtomicLong();

  PrincipalKeys(KeyDirectory directory, Providers providers, SecretMemory memory) {
    this.directory = directory;
    this.providers = providers;
    this.memory = memory;
  }

  /** The principal key that the scope's header names; null if none is set. Asks no provider. */
  public @Nullable Info info(Scope scope) throws KeyException {
    SignedHeader header = directory.keyFile(scope).header();
    if (header == null) {
      return null;
    }
    ProviderRecord provider = providers.find(PrincipalKey.Id.of(header));
    return new Info(
        header.name().toString(),
        header.providerId(),
        provider == null ? null : provider.name(),
        header.created());
  }

  /**
   * Fetches and checks the scope's principal key if that has not happened; does nothing if none is
   * set.
   */
  public void load(Scope scope) throws KeyException {
    directory.keyFile(scope).principal();
  }

  /**
   * The cipher whose keys are as long as the scope's principal key, for keys that it will wrap;
   * null if none is set.
   */
  public @Nullable CipherType cipher(Scope scope) throws KeyException {
    PrincipalKey key = directory.keyFile(scope).principal();
    if (key == null) {
      return null;
    }
    return key.size() == CipherType.AES_256.keySize() ? CipherType.AES_256 : CipherType.AES_128;
  }

  /** How often a provider was asked for a key. */
  public long fetches() {
    return fetches.get();
  }

  /**
   * The key that {@code header} names, checked against its signature; counted, for {@link
   * #release}.
   *
   * @param file the key file, for messages
   */
  PrincipalKey acquire(SignedHeader header, Scope scope, Path file) throws KeyException {
    PrincipalKey.Id id = PrincipalKey.Id.of(header);
    synchronized (requests.computeIfAbsent(id, i -> new Object())) {
      PrincipalKey known = cached(id);
      if (known != null) {
        if (signs(known, header)) {
          return known;
        }
        release(known);
      }
      try (KeyMaterial material = fetch(id, scope)) {
        PrincipalKey key = new PrincipalKey(id, memory.store(material.bytes()));
        if (!signs(key, header)) {
          key.clear();
          throw wrongKey(header, scope, file);
        }
        return share(key);
      }
    }
  }

  static KeyException wrongKey(SignedHeader header, Scope scope, Path file) {
    return new KeyException(
        Kind.WRONG_KEY,
        "Failed to verify principal key header for key %s, incorrect principal key or corrupted key file"
            .formatted(header.name()),
        null,
        null,
        "%s of %s was not signed by the key that provider id %d gives; give the provider the right"
                .formatted(file, scope, header.providerId())
            + " key or restore the file from a backup",
        null);
  }

  private boolean signs(PrincipalKey key, SignedHeader header) {
    try (KeyWrap wrap = new KeyWrap(key, directory.random())) {
      return header.isSignedBy(wrap);
    }
  }

  /** The bytes of the key that a header names, from its provider and not from the cache. */
  KeyMaterial fetch(PrincipalKey.Id id, Scope scope) throws KeyException {
    ProviderRecord provider = providers.find(id);
    if (provider == null) {
      throw new KeyException(
          Kind.CORRUPTED,
          "keyring lookup failed for principal key %s, unknown keyring with ID %d"
              .formatted(id.name(), id.providerId()),
          "needed for %s; restore %s from a backup"
              .formatted(scope, directory.path(Providers.fileName(new Scope(id.owner())))));
    }
    Optional<KeyMaterial> material;
    try {
      material = fetch(providers.open(provider), id.name());
    } catch (ProviderException e) {
      throw retrievalFailed(id.name().toString(), provider, scope, e);
    }
    return material.orElseThrow(
        () ->
            new KeyException(
                Kind.KEY_NOT_FOUND,
                "key \"%s\" not found in key provider \"%s\"".formatted(id.name(), provider.name()),
                "needed for %s; the provider's settings are %s: give it the key back or change the provider"
                    .formatted(scope, provider.options())));
  }

  static KeyException retrievalFailed(
      String keyName, ProviderRecord provider, Scope scope, ProviderException e) {
    return new KeyException(
        switch (e.code()) {
          case INSECURE, MISPLACED -> Kind.INSECURE;
          default -> Kind.PROVIDER_FAILED;
        },
        "failed to retrieve principal key \"%s\" from key provider \"%s\""
            .formatted(keyName, provider.name()),
        e.code().text(),
        null,
        "needed for " + scope + "; " + e.getMessage(),
        e);
  }

  /** Asks a provider; the result has a name and 16 or 32 bytes. */
  Optional<KeyMaterial> fetch(KeyProvider provider, KeyName name) throws ProviderException {
    return fetch(provider, name, false);
  }

  /** See {@link #fetch(KeyProvider, KeyName)} and {@link KeyProvider.Storing#fetchForNewUse}. */
  Optional<KeyMaterial> fetchForNewUse(KeyProvider provider, KeyName name)
      throws ProviderException {
    return fetch(provider, name, true);
  }

  private Optional<KeyMaterial> fetch(KeyProvider provider, KeyName name, boolean newUse)
      throws ProviderException {
    if (!(provider instanceof KeyProvider.Storing storing)) {
      throw new ProviderException(
          ProviderException.Code.UNAVAILABLE, "the provider does not hand keys out");
    }
    fetches.incrementAndGet();
    Optional<KeyMaterial> material = newUse ? storing.fetchForNewUse(name) : storing.fetch(name);
    if (material.isPresent()) {
      int size = material.get().bytes().length;
      if (size != 16 && size != 32) {
        material.get().close();
        throw new ProviderException(
            ProviderException.Code.INVALID_KEY,
            size == 0
                ? "invalid key: data length is zero"
                : "invalid key: unsupported key length \"" + size + "\"");
      }
      if (size != directory.settings().cipher().keySize()) {
        KeyDirectory.LOG.warn(
            "length \"{}\" of key \"{}\" does not match the length \"{}\" of the current cipher"
                + " setting; create a new principal key and set it instead of the current one",
            size,
            name,
            directory.settings().cipher().keySize());
      }
    }
    return material;
  }

  /** Takes fetched material that is about to be set; counted. */
  PrincipalKey adopt(ProviderRecord provider, KeyMaterial material) {
    PrincipalKey.Id id = new PrincipalKey.Id(provider.owner(), provider.id(), material.name());
    PrincipalKey known = cached(id);
    if (known != null) {
      if (known.hasBytes(material.bytes())) {
        return known;
      }
      release(known);
    }
    return share(new PrincipalKey(id, memory.store(material.bytes())));
  }

  private synchronized @Nullable PrincipalKey cached(PrincipalKey.Id id) {
    PrincipalKey key = cache.get(id);
    if (key != null) {
      key.users++;
    }
    return key;
  }

  /** A key of the same name with other bytes stays with those who hold it. */
  private synchronized PrincipalKey share(PrincipalKey key) {
    cache.put(key.id(), key);
    return key;
  }

  /** All keys in memory, each counted for {@link #release}. */
  synchronized List<PrincipalKey> hold() {
    cache.values().forEach(key -> key.users++);
    return List.copyOf(cache.values());
  }

  synchronized void retain(PrincipalKey key) {
    key.users++;
  }

  synchronized void release(PrincipalKey key) {
    if (--key.users == 0) {
      cache.remove(key.id(), key);
      key.clear();
    }
  }
}
