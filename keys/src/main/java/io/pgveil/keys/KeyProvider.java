package io.pgveil.keys;

import java.util.Optional;

/**
 * A place where principal keys live, with its settings. Used by several threads at once; one that
 * is closed while it answers may fail that answer.
 */
public sealed interface KeyProvider extends AutoCloseable {

  /** Hands key bytes out and takes them in. */
  non-sealed interface Storing extends KeyProvider {
    /**
     * The key of this name; empty if the provider was reached and does not have it.
     *
     * <p>The result carries the name as the provider stores it, which may differ in letter case.
     */
    Optional<KeyMaterial> fetch(KeyName name) throws ProviderException;

    /**
     * The same, for a key that is about to protect something new.
     *
     * @throws ProviderException {@link ProviderException.Code#RETIRED} for one that the provider
     *     still gives, but only for what it protects already
     */
    default Optional<KeyMaterial> fetchForNewUse(KeyName name) throws ProviderException {
      return fetch(name);
    }

    /**
     * Stores a new key durably, and never replaces one: if there is a key of this name it fails
     * with {@link ProviderException.Code#EXISTS}, or, where it has the same bytes, may do nothing.
     *
     * @param key 16 or 32 bytes; the caller clears them
     */
    void store(KeyName name, byte[] key) throws ProviderException;
  }

  /** Wraps and unwraps inside; key bytes never leave it. */
  non-sealed interface Wrapping extends KeyProvider {
    /** Whether the provider has a key of this name. */
    boolean contains(KeyName name) throws ProviderException;

    /** Makes a new key of this name, and never replaces one. */
    void create(KeyName name, CipherType cipher) throws ProviderException;

    /** Authenticated encryption of {@code clear}; {@code aad} is bound to the result. */
    byte[] wrap(KeyName name, byte[] clear, byte[] aad) throws ProviderException;

    /** The inverse of {@link #wrap}; the caller clears the result. */
    byte[] unwrap(KeyName name, byte[] wrapped, byte[] aad) throws ProviderException;
  }

  /** Frees connections and clears credentials. */
  @Override
  void close();
}
