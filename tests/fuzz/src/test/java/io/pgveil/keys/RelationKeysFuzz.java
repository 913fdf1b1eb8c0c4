package io.pgveil.keys;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * {@code <oid>_keys}. First byte of an input: 1 sign the header, 2 wrap the entries, 4 change the
 * file too; then the file.
 */
public final class RelationKeysFuzz {
  private static final FuzzKeys KEYS = new FuzzKeys("relation-keys");

  private RelationKeysFuzz() {}

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
    FuzzKeys.attempt(() -> KeyFileSummary.parse("5_keys", file.clone()));
    KEYS.clear().withProvider().write("5_keys", file);
    List<RelationKeys.Entry> before = new ArrayList<>();
    FuzzKeys.attempt(() -> before.addAll(look()));
    Violation.unless(
        Arrays.equals(file, Scratch.read(KEYS.directory.resolve("5_keys"))), "reading has written");
    if ((mode & 4) != 0) {
      FuzzKeys.attempt(() -> change(before));
    }
  }

  /** Every entry, and those of them that open. */
  private static List<RelationKeys.Entry> look() throws KeyException {
    List<RelationKeys.Entry> open = new ArrayList<>();
    try (KeyDirectory d = KEYS.open(true)) {
      FuzzKeys.attempt(() -> new KeyInfo(new Scope(5)).run(d));
      RelationKeys keys = d.relationKeys(5);
      keys.damagedEntries();
      for (RelationKeys.Entry e : keys.entries()) {
        try {
          InternalKey key = Objects.requireNonNull(keys.find(e.tablespaceOid(), e.relNumber()));
          Violation.unless(key.cipher().keySize() == key.copyKey().length, "a key of another size");
          open.add(e);
        } catch (KeyException x) {
          FuzzKeys.isGood(x);
        }
      }
    }
    return open;
  }

  /** What could be read is there after every kind of change. */
  private static void change(List<RelationKeys.Entry> before) throws KeyException {
    byte[] made;
    try (KeyDirectory d = KEYS.open(false)) {
      RelationKeys keys = d.relationKeys(5);
      made = keys.create(77, 78, CipherType.AES_256).copyKey();
      FuzzKeys.attempt(() -> new SetKey(new Scope(5), Scope.SERVER, "p", "k2").run(d));
      d.sync();
    }
    try (KeyDirectory d = KEYS.open(false)) {
      RelationKeys keys = d.relationKeys(5);
      InternalKey found = keys.find(77, 78);
      Violation.unless(found != null && Arrays.equals(made, found.copyKey()), "a new key is lost");
      for (RelationKeys.Entry e : before) {
        Violation.unless(keys.find(e.tablespaceOid(), e.relNumber()) != null, "an old key is lost");
      }
      keys.free(77, 78);
      d.sync();
    }
  }
}
