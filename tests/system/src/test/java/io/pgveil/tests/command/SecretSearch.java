package io.pgveil.tests.command;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Looks for known keys, as they are, as hexadecimal digits and as Base64, and for known texts, in
 * UTF-8 and in UTF-16 as a Java heap may have them.
 */
final class SecretSearch {
  private static final int BLOCK = 1 << 20;
  private static final int LONGEST = 128;

  /** Needles by their first byte. */
  private final @Nullable Needle[] needles = new Needle[256];

  private long bytes;

  /** One of those that begin with the same byte, with the others. */
  private record Needle(String name, byte[] form, @Nullable Needle next) {}

  /**
   * @param keys by the names under which they are reported
   * @param texts likewise
   */
  SecretSearch(Map<String, byte[]> keys, Map<String, String> texts) {
    texts.forEach(
        (name, text) -> {
          add(name, text.getBytes(UTF_8));
          add(name + " (UTF-16)", text.getBytes(UTF_16LE));
          add(name + " (Base64)", base64(text.getBytes(UTF_8)));
        });
    keys.forEach(
        (name, key) -> {
          add(name, key);
          add(name + " (hex)", HexFormat.of().formatHex(key).getBytes(ISO_8859_1));
          add(name + " (HEX)", HexFormat.of().withUpperCase().formatHex(key).getBytes(ISO_8859_1));
          add(name + " (Base64)", base64(key));
        });
  }

  /** Without texts. */
  SecretSearch(Map<String, byte[]> keys) {
    this(keys, Map.of());
  }

  private static byte[] base64(byte[] bytes) {
    return Base64.getEncoder().withoutPadding().encode(bytes);
  }

  private void add(String name, byte[] form) {
    int first = form[0] & 0xff;
    needles[first] = new Needle(name, form, needles[first]);
  }

  /** What is found in one file. */
  NavigableSet<String> in(Path file) throws IOException {
    NavigableSet<String> found = new TreeSet<>();
    byte[] buffer = new byte[BLOCK + LONGEST];
    int kept = 0;
    try (InputStream in = Files.newInputStream(file)) {
      int n;
      while ((n = in.readNBytes(buffer, kept, BLOCK)) > 0) {
        bytes += n;
        int end = kept + n;
        search(buffer, end, found);
        kept = Math.min(end, LONGEST);
        System.arraycopy(buffer, end - kept, buffer, 0, kept);
      }
    }
    return found;
  }

  /** What is found in a text. */
  NavigableSet<String> in(String text) {
    NavigableSet<String> found = new TreeSet<>();
    byte[] all = text.getBytes(ISO_8859_1);
    bytes += all.length;
    search(all, all.length, found);
    return found;
  }

  /** What is found in all files below a directory. */
  NavigableSet<String> below(Path directory) throws IOException {
    NavigableSet<String> found = new TreeSet<>();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        in(file).forEach(name -> found.add(file.getFileName() + ": " + name));
      }
    }
    return found;
  }

  /** What the process list of this machine shows: command lines and environments. */
  NavigableSet<String> inProcessList() throws IOException {
    NavigableSet<String> found = new TreeSet<>();
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      for (Path process :
          processes.filter(p -> p.getFileName().toString().matches("\\d+")).toList()) {
        for (String file : List.of("cmdline", "environ")) {
          try {
            found.addAll(in(process.resolve(file)));
          } catch (IOException e) {
            // it has ended, is a thread of the kernel, or runs outside of this container
          }
        }
      }
    }
    return found;
  }

  private void search(byte[] buffer, int end, NavigableSet<String> found) {
    for (int i = 0; i < end; i++) {
      for (Needle n = needles[buffer[i] & 0xff]; n != null; n = n.next) {
        if (matches(buffer, i, end, n.form)) {
          found.add(n.name);
        }
      }
    }
  }

  private static boolean matches(byte[] buffer, int at, int end, byte[] form) {
    if (at + form.length > end) {
      return false;
    }
    for (int i = 1; i < form.length; i++) {
      if (buffer[at + i] != form[i]) {
        return false;
      }
    }
    return true;
  }

  /** Bytes looked at. */
  long bytes() {
    return bytes;
  }
}
