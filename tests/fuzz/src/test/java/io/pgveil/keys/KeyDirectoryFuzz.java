package io.pgveil.keys;

import io.pgveil.fuzz.Bits;
import java.util.List;

/**
 * A key directory as a whole: several files under names that the fuzzer chooses among those that
 * mean something, migrated, and each read by whoever reads it. An input is a list of: file name (1
 * byte; 128: sign header, 64: wrap entries), length (2 bytes), content.
 */
public final class KeyDirectoryFuzz {
  private static final FuzzKeys KEYS = new FuzzKeys("key-directory");
  private static final List<String> NAMES =
      List.of(
          "keys_version",
          "wal_keys",
          "5_keys",
          "1663_keys",
          "0_keys",
          "-5_keys",
          "pgveil.seal",
          "1664_providers",
          "5_providers",
          "wal_keys.r",
          "1664_keys",
          "9999999999_keys");

  private KeyDirectoryFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    KEYS.clear().withProvider();
    Bits bits = new Bits(input);
    for (int i = 0; i < 8 && !bits.isEmpty(); i++) {
      int which = bits.u8();
      byte[] file = bits.block();
      if ((which & 128) != 0) {
        FuzzKeys.sign(file);
      }
      if ((which & 64) != 0) {
        FuzzKeys.wrap(file);
      }
      KEYS.write(NAMES.get((which & 63) % NAMES.size()), file);
    }
    FuzzKeys.attempt(() -> use(true));
    FuzzKeys.attempt(() -> use(false));
  }

  private static void use(boolean readOnly) throws KeyException {
    try (KeyDirectory d = KEYS.open(readOnly)) {
      FuzzKeys.attempt(
          () -> {
            for (int oid : d.databases()) {
              FuzzKeys.attempt(() -> new KeyInfo(new Scope(oid)).run(d));
              FuzzKeys.attempt(() -> d.relationKeys(oid).entries());
            }
          });
      for (Scope scope : List.of(Scope.SERVER, Scope.DEFAULT)) {
        FuzzKeys.attempt(() -> d.principalKeys().load(scope));
        FuzzKeys.attempt(() -> d.principalKeys().cipher(scope));
        FuzzKeys.attempt(() -> d.principalKeys().info(scope));
        FuzzKeys.attempt(() -> new VerifyKey(scope).run(d));
      }
      FuzzKeys.attempt(() -> d.sealKeys().activeId());
      d.walKeys().count();
      if (!readOnly) {
        FuzzKeys.attempt(() -> new SetKey(Scope.DEFAULT, Scope.SERVER, "p", "k2").run(d));
        FuzzKeys.attempt(() -> new DeleteDefaultKey().run(d));
        FuzzKeys.attempt(() -> d.dropDatabase(5));
        FuzzKeys.attempt(d::sync);
      }
    }
  }
}
