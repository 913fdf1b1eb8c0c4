package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Makes a new principal key in a provider (pg_tde behaviour 4.2). It protects nothing until it is
 * set.
 *
 * <p>Unlike pg_tde, a provider that cannot say whether the key exists is not asked to store one.
 *
 * @param owner the database whose provider it is, or {@link Scope#SERVER} for a global one
 * @param cipher gives the key's length
 */
public record CreateKey(
    Scope owner, @Nullable String providerName, @Nullable String keyName, CipherType cipher) {

  public void run(KeyDirectory directory) throws KeyException {
    directory.exclusively(
        () -> {
          create(directory);
          return null;
        });
  }

  private void create(KeyDirectory directory) throws KeyException {
    KeyName name = Arguments.keyName(keyName);
    ProviderRecord record = Arguments.provider(directory, owner, providerName);
    KeyProvider provider = directory.providers().open(record);
    try {
      boolean exists =
          switch (provider) {
            case KeyProvider.Storing storing -> {
              Optional<KeyMaterial> found = directory.principalKeys().fetch(storing, name);
              found.ifPresent(KeyMaterial::close);
              yield found.isPresent();
            }
            case KeyProvider.Wrapping wrapping -> wrapping.contains(name);
          };
      if (exists) {
        throw new KeyException(
            Kind.INVALID_ARGUMENT,
            "cannot create key \"" + name + "\" because it already exists",
            "choose another name; key provider \"" + record.name() + "\" has one like it");
      }
      switch (provider) {
        case KeyProvider.Storing storing -> {
          byte[] key = new byte[cipher.keySize()];
          directory.random().nextBytes(key);
          try {
            storing.store(name, key);
          } finally {
            Arrays.fill(key, (byte) 0);
          }
        }
        case KeyProvider.Wrapping wrapping -> wrapping.create(name, cipher);
      }
    } catch (ProviderException e) {
      throw Providers.failed(e);
    }
    KeyDirectory.LOG.info(
        "created principal key {} ({}) in key provider {}", name, cipher, record.name());
  }
}
