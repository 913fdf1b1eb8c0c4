package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The keyring of the file provider (spec 4.1): records of 292 bytes, back to back, no header.
 *
 * <pre>
 * 0    256  key name, NUL-terminated, zero-filled
 * 256   32  key, zero-filled beyond its length
 * 288    4  length of the key: 16 or 32
 * </pre>
 */
public record Keyring(String file, List<Key> keys) {
  private static final int RECORD = 292;

  /** One record. */
  public record Key(String name, Secret key) {}

  public static Keyring read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  public static Keyring parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static Keyring parse(Source in) {
    List<Key> keys = new ArrayList<>();
    for (int at = 0; at < in.size(); at += RECORD) {
      in.requireSize(at + RECORD, "keyring records up to the end");
      String name = in.zeroFilledText(at, 256, "key name");
      in.require(!name.isEmpty(), at, "a key name", "an empty one");
      long length = in.u32(at + 288);
      in.require(length == 16 || length == 32, at + 288, "key length 16 or 32", length);
      in.require(
          in.isZero(at + 256 + (int) length, at + 288),
          at + 256 + length,
          "zeros behind the key",
          "other bytes");
      keys.add(new Key(name, Secret.of(in.array(at + 256, (int) length))));
    }
    return new Keyring(in.file(), List.copyOf(keys));
  }

  /** As the provider finds a key: the first record whose name matches, ASCII case ignored. */
  public Optional<Secret> find(String name) {
    String wanted = asciiLowerCase(name);
    return keys.stream()
        .filter(key -> asciiLowerCase(key.name).equals(wanted))
        .map(Key::key)
        .findFirst();
  }

  private static String asciiLowerCase(String name) {
    StringBuilder lower = new StringBuilder(name);
    for (int i = 0; i < lower.length(); i++) {
      char c = lower.charAt(i);
      if (c >= 'A' && c <= 'Z') {
        lower.setCharAt(i, (char) (c + 'a' - 'A'));
      }
    }
    return lower.toString();
  }
}
