package io.pgveil.keys.file;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Scratch;
import io.pgveil.fuzz.Violation;
import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.ProviderException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** The keyring of the file provider. First byte of an input: 1 store a key too; then the file. */
public final class KeyringFuzz {
  private static final Path FILE = Scratch.directory("keyring").resolve("keyring");
  private static final byte[] KEY =
      "0123456789abcdef".getBytes(java.nio.charset.StandardCharsets.US_ASCII);

  private KeyringFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) throws ProviderException {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] file = bits.rest();
    Scratch.write(FILE, file);
    FileKeyring keyring = new FileKeyring(FILE, List.of());
    fetch(keyring, "k");
    if (file.length > 4 && file[0] != 0) {
      int end = 0;
      while (end < Math.min(255, file.length) && file[end] != 0) {
        end++;
      }
      fetch(keyring, KeyName.of(Arrays.copyOf(file, end)));
    }
    Violation.unless(Arrays.equals(file, Scratch.read(FILE)), "reading has written");
    if ((mode & 1) != 0) {
      store(keyring, file);
    }
  }

  private static void fetch(FileKeyring keyring, String name) {
    fetch(keyring, KeyName.of(name));
  }

  private static void fetch(FileKeyring keyring, KeyName name) {
    try {
      keyring.fetch(name).ifPresent(KeyMaterial::close);
    } catch (ProviderException e) {
      Violation.unless(e.getMessage() != null, "an empty message");
    }
  }

  private static void store(FileKeyring keyring, byte[] file) throws ProviderException {
    try {
      keyring.store(KeyName.of("new key"), KEY);
    } catch (ProviderException e) {
      Violation.unless(Arrays.equals(file, Scratch.read(FILE)), "a failure has written");
      return;
    }
    byte[] now = Scratch.read(FILE);
    Violation.unless(
        now.length == file.length + FileKeyring.RECORD_SIZE
            && Arrays.equals(file, 0, file.length, now, 0, file.length),
        "what was in the keyring has changed");
    Violation.unless(keyring.fetch(KeyName.of("NEW KEY")).isPresent(), "a new key is lost");
  }
}
