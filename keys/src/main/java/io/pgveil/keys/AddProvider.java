package io.pgveil.keys;

import org.jspecify.annotations.Nullable;

/**
 * Adds a key provider (pg_tde behaviour 3.1).
 *
 * @param owner the database, or {@link Scope#SERVER} for a global provider
 * @param type the type's name, for example {@code file}
 * @param options JSON text, stored as it is
 */
public record AddProvider(
    Scope owner, @Nullable String type, @Nullable String name, @Nullable String options) {

  /** Returns the new provider's id: negative for a global one. */
  public int run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    return directory.exclusively(() -> add(directory));
  }

  private int add(KeyDirectory directory) throws KeyException {
    Arguments.owner(owner);
    String typeName = Arguments.notNull(type, "provider type");
    String newName = Arguments.notNull(name, "provider name");
    String json = Arguments.notNull(options, "provider options");
    Arguments.providerName(newName);
    Arguments.options(json);
    KeyProviderFactory factory = Arguments.type(directory, typeName);
    Arguments.validate(directory, factory, json);
    for (ProviderRecord r : directory.providers().list(owner)) {
      if (r.name().equals(newName)) {
        throw new KeyException(
            KeyException.Kind.DUPLICATE, "Key provider \"" + newName + "\" already exists.");
      }
    }
    int id = directory.providers().nextId(owner);
    directory
        .providers()
        .add(new ProviderRecord(owner.oid(), id, newName, json, factory.typeNumber()));
    KeyDirectory.LOG.info("added key provider {} ({}, id {}) of {}", newName, typeName, id, owner);
    return id;
  }
}
