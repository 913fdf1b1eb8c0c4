package io.pgveil.linux;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Converts between Unicode text and byte strings (one char per byte, ISO 8859-1). */
public final class ByteString {
  private ByteString() {}

  /** The byte string of {@code path} as given (not made absolute), UTF-8 encoded. */
  public static String of(Path path) {
    return of(path.toString());
  }

  /** The byte string of Unicode {@code text}, UTF-8 encoded. */
  public static String of(String text) {
    return new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
  }

  /** The Unicode text of a byte string, for messages and for {@code java.nio.file}. */
  public static String toText(String byteString) {
    return new String(byteString.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
  }
}
