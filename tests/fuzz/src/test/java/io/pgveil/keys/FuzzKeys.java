package io.pgveil.keys;

import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A key directory whose files come from a fuzzer. Its one provider, {@code p}, knows every key name
 * but {@code none}, always with the same bytes: so headers can be signed that the fuzzer has made,
 * and what lies behind the signature is reached too.
 */
public final class FuzzKeys {
  static final byte[] PRINCIPAL = new byte[16];
  static final byte[] SECRET = new byte[32];

  static {
    Arrays.fill(PRINCIPAL, (byte) 0x50);
    Arrays.fill(SECRET, (byte) 0x53);
  }

  private static final SecureRandom RANDOM = new SecureRandom();

  public final Path root;
  public final Path directory;

  public FuzzKeys(String name) {
    root = Scratch.directory(name);
    directory = root.resolve("pg_tde");
  }

  /** A type "file" without files; whatever a fuzzer makes of its options, nothing is touched. */
  private static final class Factory implements KeyProviderFactory {
    @Override
    public String typeName() {
      return "file";
    }

    @Override
    public int typeNumber() {
      return 1;
    }

    @Override
    public List<String> optionNames() {
      return List.of("path", "host");
    }

    @Override
    public List<String> requiredOptions() {
      return List.of("path");
    }

    @Override
    public KeyProvider open(Map<String, String> options, Context context) {
      return new Provider();
    }

    @Override
    public void validate(Map<String, String> options, Context context) {}
  }

  private static final class Provider implements KeyProvider.Storing {
    @Override
    public Optional<KeyMaterial> fetch(KeyName name) {
      return name.toString().equals("none")
          ? Optional.empty()
          : Optional.of(new KeyMaterial(name, PRINCIPAL.clone()));
    }

    @Override
    public void store(KeyName name, byte[] key) throws ProviderException {
      throw new ProviderException(ProviderException.Code.UNAVAILABLE, "it takes no keys");
    }

    @Override
    public void close() {}
  }

  /** The providers files that go with it: {@code p}, global, with the id -1. */
  public FuzzKeys withProvider() {
    byte[] record = new byte[ProviderRecord.SIZE];
    new ProviderRecord(1664, -1, "p", "{\"path\":\"/x\"}", 1).write(record, 0);
    write("1664_providers", record);
    return this;
  }

  public FuzzKeys clear() {
    if (directory.toFile().exists()) {
      Scratch.clear(directory);
    }
    return this;
  }

  public FuzzKeys write(String name, byte[] content) {
    Scratch.write(directory.resolve(name), content);
    return this;
  }

  public KeyDirectory open(boolean readOnly) throws KeyException {
    return KeyDirectory.open(
        directory,
        new KeyDirectory.Settings(List.of(), CipherType.AES_128, readOnly),
        List.of(new Factory()),
        (step, name) -> {});
  }

  /** A key directory in good order: server and default key, a database, a WAL range, seal keys. */
  public FuzzKeys made() {
    try {
      clear().withProvider();
      try (KeyDirectory d = open(false)) {
        new SetKey(Scope.SERVER, Scope.SERVER, "p", "k").run(d);
        new SetKey(Scope.DEFAULT, Scope.SERVER, "p", "k").run(d);
        d.relationKeys(5).create(1663, 1259, CipherType.AES_128);
        d.relationKeys(5).create(1663, 16384, CipherType.AES_256);
        d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 0x1000000);
        d.sync();
      }
      return this;
    } catch (KeyException e) {
      throw new Violation("the key directory to begin with", e);
    }
  }

  /** Signs the header that is in {@code file}, whatever it says. */
  static void sign(byte[] file) {
    if (file.length >= EntryLayout.HEADER_SIZE) {
      try (KeyWrap wrap = new KeyWrap(PRINCIPAL, RANDOM)) {
        byte[] tag = wrap.seal(new byte[16], file, 8, SignedHeader.INFO_SIZE, new byte[0]);
        Arrays.fill(file, 8 + SignedHeader.INFO_SIZE, 8 + SignedHeader.INFO_SIZE + 16, (byte) 0);
        System.arraycopy(tag, 0, file, 8 + SignedHeader.INFO_SIZE + 16, 16);
      }
    }
  }

  /** Wraps {@link #SECRET} into each entry of {@code file}, under what the entry says. */
  static void wrap(byte[] file) {
    if (file.length < 4) {
      return;
    }
    int magic = Bytes.getInt(file, 0);
    for (EntryLayout layout : EntryLayout.values()) {
      if (layout.magic != magic) {
        continue;
      }
      try (KeyWrap wrap = new KeyWrap(PRINCIPAL, RANDOM)) {
        for (int i = 0; layout.offset(i + 1) <= file.length; i++) {
          int at = layout.offset(i);
          CipherType cipher =
              layout.cipherAt < 0
                  ? CipherType.AES_128
                  : CipherType.find(Bytes.getInt(file, at + layout.cipherAt));
          int size = layout == EntryLayout.SEAL_1 ? 32 : cipher == null ? 16 : cipher.keySize();
          wrap.wrap(layout, file, at, Arrays.copyOf(SECRET, size), iv(i));
        }
      }
    }
  }

  /** The JDK wants another IV each time. */
  private static byte[] iv(int i) {
    byte[] iv = new byte[16];
    Bytes.putInt(iv, 0, i + 1);
    return iv;
  }

  /** Closes {@code file}, a {@code pgveil.seal}, with the authentication that it ends with. */
  static void seal(byte[] file) {
    int trailer = file.length - 32;
    if (trailer >= EntryLayout.HEADER_SIZE) {
      try (KeyWrap wrap = new KeyWrap(PRINCIPAL, RANDOM)) {
        Arrays.fill(file, trailer, trailer + 16, (byte) 0);
        byte[] tag = wrap.seal(new byte[16], file, 0, trailer, new byte[0]);
        System.arraycopy(tag, 0, file, trailer + 16, 16);
      }
    }
  }

  /** A signed header, for seeds. */
  static byte[] header(int magic, int databaseId) {
    byte[] file = new byte[EntryLayout.HEADER_SIZE];
    Bytes.putInt(file, 0, magic);
    try (KeyWrap wrap = new KeyWrap(PRINCIPAL, RANDOM)) {
      SignedHeader.sign(databaseId, -1, KeyName.of("k"), Instant.EPOCH, wrap, new byte[16])
          .write(file, 8);
    }
    return file;
  }

  /** A declared failure: it says something, and no null has slipped into it. */
  static void isGood(KeyException e) {
    String message = String.valueOf(e.getMessage());
    Violation.unless(!message.isBlank(), "an empty message");
  }

  interface Action {
    void run() throws KeyException;
  }

  static void attempt(Action action) {
    try {
      action.run();
    } catch (KeyException e) {
      isGood(e);
    }
  }
}
