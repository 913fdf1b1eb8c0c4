package io.pgveil.keys;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * {@code wal_keys}. First byte of an input: 1 sign the header, 2 wrap the entries, 4 change the
 * file too; then the file.
 */
public final class WalKeysFuzz {
  private static final FuzzKeys KEYS = new FuzzKeys("wal-keys");

  private WalKeysFuzz() {}

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
    FuzzKeys.attempt(() -> KeyFileSummary.parse("wal_keys", file.clone()));
    KEYS.clear().withProvider().write("wal_keys", file);
    List<WalRange> before = new ArrayList<>();
    FuzzKeys.attempt(() -> before.addAll(look()));
    Violation.unless(
        Arrays.equals(file, Scratch.read(KEYS.directory.resolve("wal_keys"))),
        "reading has written");
    if ((mode & 4) != 0) {
      FuzzKeys.attempt(() -> change(before));
    }
  }

  /** Every range that can be opened. */
  private static List<WalRange> look() throws KeyException {
    List<WalRange> open = new ArrayList<>();
    try (KeyDirectory d = KEYS.open(true)) {
      WalKeys keys = d.walKeys();
      FuzzKeys.attempt(() -> new KeyInfo(Scope.SERVER).run(d));
      Violation.unless(keys.count() <= keys.entries(), "more ranges than entries");
      for (WalRange r : keys.ranges()) {
        Violation.unless(r.tli() != 0 && r.startLsn() != 0, "a range without a place");
        try {
          Violation.unless(
              keys.key(r).copyKey().length == r.cipher().keySize(), "a key of another size");
          open.add(r);
        } catch (KeyException e) {
          FuzzKeys.isGood(e);
        }
      }
    }
    return open;
  }

  /** Ranges below the new one stay what they are, under a new principal key too. */
  private static void change(List<WalRange> before) throws KeyException {
    int tli = before.isEmpty() ? 1 : before.getLast().tli();
    long lsn = before.isEmpty() ? 8 : before.getLast().startLsn();
    WalRange made;
    try (KeyDirectory d = KEYS.open(false)) {
      made = d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_256, tli, lsn);
      FuzzKeys.attempt(() -> new SetKey(Scope.SERVER, Scope.SERVER, "p", "k2").run(d));
    }
    try (KeyDirectory d = KEYS.open(true)) {
      List<WalRange> now = d.walKeys().ranges();
      Violation.unless(now.contains(made), "a new range is lost");
      for (WalRange r : before) {
        if (r.compareStart(tli, lsn) < 0) {
          Violation.unless(now.contains(r), "an old range is lost");
          d.walKeys().key(r);
        }
      }
      d.walKeys().key(made);
    }
  }
}
