package io.pgveil.keys;

import static java.util.stream.Collectors.joining;

import io.pgveil.keys.KeyException.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The provider records of all scopes ({@code <oid>_providers}) and the providers opened from them.
 *
 * <p>Its monitor guards the records in memory and is never held while a provider is asked. Changes
 * are made by one management operation at a time and are written whole, so that a crash leaves no
 * half record, which pg_tde would refuse.
 */
final class Providers implements AutoCloseable {
  private final DurableFiles files;
  private final KeyProviderFactory.Context context;
  private final List<KeyProviderFactory> factories;
  private final Map<Integer, byte[]> images = new HashMap<>();
  private final ProviderHealth health;
  private final Map<ProviderRecord, KeyProvider> opened = new HashMap<>();

  Providers(
      DurableFiles files,
      List<KeyProviderFactory> factories,
      KeyProviderFactory.Context context,
      ProviderHealth health) {
    this.files = files;
    this.factories = factories;
    this.context = context;
    this.health = health;
  }

  KeyProviderFactory.Context context() {
    return context;
  }

  static String fileName(Scope owner) {
    return owner.oid() + "_providers";
  }

  private byte[] image(Scope owner) throws KeyException {
    byte[] image = images.get(owner.oid());
    if (image == null) {
      image = files.read(fileName(owner));
      if (image == null) {
        image = new byte[0];
      }
      if (image.length % ProviderRecord.SIZE != 0) {
        throw new KeyException(
            Kind.CORRUPTED,
            "key provider info file is corrupted",
            "%s has %d bytes, not a multiple of %d; restore it from a backup"
                .formatted(files.path(fileName(owner)), image.length, ProviderRecord.SIZE));
      }
      images.put(owner.oid(), image);
    }
    return image;
  }

  /** All records in file order, deleted ones too. */
  private List<ProviderRecord> records(Scope owner) throws KeyException {
    byte[] image = image(owner);
    List<ProviderRecord> records = new ArrayList<>();
    for (int at = 0; at < image.length; at += ProviderRecord.SIZE) {
      records.add(ProviderRecord.read(owner.oid(), image, at));
    }
    return records;
  }

  /** The records that are not deleted, in file order. */
  synchronized List<ProviderRecord> list(Scope owner) throws KeyException {
    return records(owner).stream().filter(r -> !r.isDeleted()).toList();
  }

  /** By name, letter case ignored; null if there is none. */
  @Nullable ProviderRecord find(Scope owner, String name) throws KeyException {
    KeyName wanted = name.isEmpty() ? null : nameOf(name);
    for (ProviderRecord r : list(owner)) {
      KeyName have = nameOf(r.name());
      if (wanted != null && have != null && have.equalsIgnoreCase(wanted)) {
        return r;
      }
    }
    return null;
  }

  private static @Nullable KeyName nameOf(String name) {
    int n = ProviderRecord.lengthInBytes(name);
    return n == 0 || n >= KeyName.FIELD_SIZE || name.indexOf(0) >= 0 ? null : KeyName.of(name);
  }

  /** By the id that a header holds; null if the record is gone. */
  @Nullable ProviderRecord find(PrincipalKey.Id id) throws KeyException {
    for (ProviderRecord r : list(new Scope(id.owner()))) {
      if (r.id() == id.providerId()) {
        return r;
      }
    }
    return null;
  }

  /** The factory of a type name, or null. */
  @Nullable KeyProviderFactory factory(String typeName) {
    for (KeyProviderFactory f : factories) {
      if (f.typeName().equals(typeName)) {
        return f;
      }
    }
    return null;
  }

  String typeNames() {
    return factories.stream().map(KeyProviderFactory::typeName).collect(joining(", "));
  }

  /** The factory of a type number. */
  KeyProviderFactory factory(ProviderRecord record) throws KeyException {
    for (KeyProviderFactory f : factories) {
      if (f.typeNumber() == record.type()) {
        return f;
      }
    }
    throw new KeyException(
        Kind.INVALID_TYPE,
        "Invalid provider type.",
        "key provider \"%s\" has type number %d, which this installation has no module for"
            .formatted(record.name(), record.type()));
  }

  /** The provider of a record; opened once and kept. */
  synchronized KeyProvider open(ProviderRecord record) throws KeyException {
    KeyProvider provider = opened.get(record);
    if (provider == null) {
      provider = health.observed(record, openAnew(record));
      opened.put(record, provider);
    }
    return provider;
  }

  /** A provider with these settings that the caller closes. */
  KeyProvider openAnew(ProviderRecord record) throws KeyException {
    KeyProviderFactory factory = factory(record);
    try {
      return factory.open(ProviderOptions.parse(record.options(), factory), context);
    } catch (ProviderException e) {
      throw failed(e);
    }
  }

  /** The provider's own message as a key error. */
  static KeyException failed(ProviderException e) {
    Kind kind =
        switch (e.code()) {
          case INSECURE, MISPLACED -> Kind.INSECURE;
          case CORRUPTED -> Kind.CORRUPTED;
          case EXISTS, RETIRED -> Kind.REFUSED;
          case UNAVAILABLE, REFUSED, MISSING, NO_SPACE, INVALID_RESPONSE, INVALID_KEY ->
              Kind.PROVIDER_FAILED;
        };
    return new KeyException(kind, String.valueOf(e.getMessage()), null, null, null, e);
  }

  /** The id that the next record of this owner gets. */
  synchronized int nextId(Scope owner) throws KeyException {
    int max = 0;
    for (ProviderRecord r : records(owner)) {
      max = Math.max(max, Math.abs(r.id()));
    }
    if (max < 0 || max == Integer.MAX_VALUE) {
      throw new KeyException(Kind.REFUSED, "cannot create key provider, id out of range");
    }
    return owner.equals(Scope.SERVER) ? -(max + 1) : max + 1;
  }

  /** Appends a record durably. */
  synchronized void add(ProviderRecord record) throws KeyException {
    Scope owner = new Scope(record.owner());
    byte[] old = image(owner);
    byte[] image = Arrays.copyOf(old, old.length + ProviderRecord.SIZE);
    record.write(image, old.length);
    replace(owner, image);
  }

  /** Replaces the record that has the same id, durably. */
  void put(ProviderRecord record) throws KeyException {
    KeyProvider replaced = exchange(record);
    if (replaced != null) {
      // with no lock held: it may be waiting for its server
      replaced.close();
    }
  }

  private synchronized @Nullable KeyProvider exchange(ProviderRecord record) throws KeyException {
    Scope owner = new Scope(record.owner());
    byte[] image = image(owner).clone();
    for (int at = 0; at < image.length; at += ProviderRecord.SIZE) {
      ProviderRecord old = ProviderRecord.read(owner.oid(), image, at);
      if (old.id() == record.id()) {
        record.write(image, at);
        replace(owner, image);
        health.forget(old);
        return opened.remove(old);
      }
    }
    throw new IllegalStateException("no provider record " + record.id());
  }

  private void replace(Scope owner, byte[] image) throws KeyException {
    files.replace(fileName(owner), image);
    images.put(owner.oid(), image);
  }

  /** Forgets a dropped database; the caller closes what is returned, with no lock held. */
  synchronized List<KeyProvider> forget(Scope owner) {
    images.remove(owner.oid());
    List<KeyProvider> gone = new ArrayList<>();
    opened
        .entrySet()
        .removeIf(
            e -> {
              boolean theirs = e.getKey().owner() == owner.oid();
              if (theirs) {
                health.forget(e.getKey());
                gone.add(e.getValue());
              }
              return theirs;
            });
    return gone;
  }

  @Override
  public synchronized void close() {
    opened.values().forEach(KeyProvider::close);
    opened.clear();
  }
}
