package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import org.jspecify.annotations.Nullable;

/**
 * Deletes a key provider that no key in use comes from (pg_tde behaviour 3.3). Its keys stay where
 * they are.
 */
public record DeleteProvider(Scope owner, @Nullable String name) {

  public void run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    directory.exclusively(
        () -> {
          delete(directory);
          return null;
        });
  }

  private void delete(KeyDirectory directory) throws KeyException {
    Arguments.owner(owner);
    String wanted = Arguments.notNull(name, "provider_name");
    ProviderRecord old = Arguments.existing(directory, owner, wanted);
    for (KeyFile file : directory.keyFiles()) {
      SignedHeader header = file.header();
      if (header != null && ChangeProvider.uses(header, old)) {
        throw new KeyException(
            Kind.IN_USE,
            "cannot delete provider which is currently in use",
            "the principal key \"%s\" of %s comes from it: set another key first"
                .formatted(header.name(), file.scope));
      }
    }
    if (!old.name().equals(wanted)) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "key provider \"" + wanted + "\" does not exist",
          "the name is written \"" + old.name() + "\"");
    }
    directory.providers().put(new ProviderRecord(owner.oid(), old.id(), "", "", 0));
    KeyDirectory.LOG.info("deleted key provider {} (id {}) of {}", wanted, old.id(), owner);
  }
}
