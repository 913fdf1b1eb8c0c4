package io.pgveil.keys;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.util.Arrays;

/**
 * {@code pgveil.seal}. First byte of an input: 1 sign the header, 2 wrap the entries, 4 close the
 * file, 8 change it too; then the file.
 */
public final class SealKeysFuzz {
  private static final FuzzKeys KEYS = new FuzzKeys("seal-keys");

  private SealKeysFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] file = bits.rest();
    if ((mode & 1) != 0) {
      FuzzKeys.sign(file);
    }
    if ((mode & 2) != 0) {
      FuzzKeys.wrap(file);
    }
    if ((mode & 4) != 0) {
      FuzzKeys.seal(file);
    }
    FuzzKeys.attempt(() -> KeyFileSummary.parse("pgveil.seal", file.clone()));
    KEYS.clear().withProvider().write("pgveil.seal", file);
    FuzzKeys.attempt(SealKeysFuzz::look);
    Violation.unless(
        Arrays.equals(file, Scratch.read(KEYS.directory.resolve("pgveil.seal"))),
        "reading has written");
    if ((mode & 8) != 0) {
      FuzzKeys.attempt(SealKeysFuzz::change);
    }
  }

  private static void look() throws KeyException {
    try (KeyDirectory d = KEYS.open(true)) {
      SealKeys keys = d.sealKeys();
      FuzzKeys.attempt(keys::exist);
      FuzzKeys.attempt(keys::count);
      byte[] key = keys.copyKey(keys.activeId());
      Violation.unless(key != null && key.length == SealKeys.KEY_SIZE, "an id without a key");
    }
  }

  private static void change() throws KeyException {
    byte[] id;
    byte[] key;
    try (KeyDirectory d = KEYS.open(false)) {
      id = d.sealKeys().activeId();
      key = d.sealKeys().copyKey(id);
      d.sealKeys().rotate();
      FuzzKeys.attempt(() -> new SetKey(Scope.SERVER, Scope.SERVER, "p", "k2").run(d));
    }
    try (KeyDirectory d = KEYS.open(true)) {
      Violation.unless(Arrays.equals(key, d.sealKeys().copyKey(id)), "a seal key is lost");
    }
  }
}
