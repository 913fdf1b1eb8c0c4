package io.pgveil.keys;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.util.Arrays;

/**
 * {@code <oid>_providers} and the JSON in it. First byte of an input: 1 the global file, 2 what
 * follows is the JSON of one record and not a file, 4 change the file too.
 */
public final class ProvidersFuzz {
  private static final FuzzKeys KEYS = new FuzzKeys("providers");

  private ProvidersFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    Scope owner = (mode & 1) != 0 ? Scope.SERVER : new Scope(5);
    byte[] file = (mode & 2) != 0 ? record(bits) : bits.rest();
    ProviderRecord.readAll(owner.oid(), file);
    KEYS.clear().write(Providers.fileName(owner), file);
    FuzzKeys.attempt(() -> look(owner));
    Violation.unless(
        Arrays.equals(file, Scratch.read(KEYS.directory.resolve(Providers.fileName(owner)))),
        "reading has written");
    if ((mode & 4) != 0) {
      FuzzKeys.attempt(() -> change(owner));
    }
  }

  private static byte[] record(Bits bits) {
    byte[] json = bits.rest();
    byte[] record = new byte[ProviderRecord.SIZE];
    new ProviderRecord(0, 1, "p", "", 1).write(record, 0);
    System.arraycopy(json, 0, record, 132, Math.min(json.length, ProviderRecord.OPTIONS_SIZE));
    return record;
  }

  private static void look(Scope owner) throws KeyException {
    try (KeyDirectory d = KEYS.open(true)) {
      for (ListProviders.Item item : new ListProviders(owner).run(d)) {
        FuzzKeys.attempt(() -> d.providers().find(owner, item.name()));
      }
      for (ProviderRecord r : d.providers().list(owner)) {
        FuzzKeys.attempt(() -> d.providers().open(r));
      }
      FuzzKeys.attempt(() -> d.providers().nextId(owner));
    }
  }

  private static void change(Scope owner) throws KeyException {
    int id;
    try (KeyDirectory d = KEYS.open(false)) {
      id = new AddProvider(owner, "file", "new", "{\"path\":\"/new\"}").run(d);
      FuzzKeys.attempt(
          () -> new ChangeProvider(owner, "file", "p", "{\"path\":\"/other\"}").run(d));
    }
    try (KeyDirectory d = KEYS.open(false)) {
      ProviderRecord found = d.providers().find(owner, "new");
      Violation.unless(found != null && found.id() == id, "a new provider is lost");
      new DeleteProvider(owner, "new").run(d);
    }
  }
}
