package io.pgveil.keys;

import java.util.ArrayList;
import java.util.List;

/** Lists the key providers of an owner in file order (pg_tde behaviour 3.4). */
public record ListProviders(Scope owner) {
  /**
   * One provider.
   *
   * @param id negative for a global one
   * @param options the JSON text as it was given
   */
  public record Item(int id, String name, String type, String options) {}

  public List<Item> run(KeyDirectory directory) throws KeyException {
    Arguments.owner(owner);
    List<Item> items = new ArrayList<>();
    for (ProviderRecord r : directory.providers().list(owner)) {
      KeyProviderFactory factory = directory.providers().factory(r);
      ProviderOptions.parse(r.options(), factory);
      items.add(new Item(r.id(), r.name(), factory.typeName(), r.options()));
    }
    return items;
  }
}
