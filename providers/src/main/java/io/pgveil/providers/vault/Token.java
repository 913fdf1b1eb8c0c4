package io.pgveil.providers.vault;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;

/**
 * The token of one request, as it is in its file at that moment: it is kept nowhere, so a file that
 * an agent replaces needs no notice.
 *
 * <p>The bytes are cleared by {@link #close}. The JDK's HTTP client takes headers as texts only, so
 * {@link #header} makes one for each request; it is garbage when the request ends
 * (docs/decisions/0013).
 */
final class Token implements AutoCloseable {
  /** A JWT with many claims has some thousand. */
  static final int MAX_SIZE = 8192;

  private final byte[] bytes;

  private Token(byte[] bytes) {
    this.bytes = bytes;
  }

  /** The only word of the file. */
  static Token read(PrivateFile file) throws ProviderException {
    byte[] content = file.read(MAX_SIZE);
    try {
      int start = 0;
      int end = content.length;
      while (end > 0 && isSpace(content[end - 1])) {
        end--;
      }
      while (start < end && isSpace(content[start])) {
        start++;
      }
      if (start == end) {
        throw refused(file, "it is empty");
      }
      for (int i = start; i < end; i++) {
        // the HTTP client would show such a token in its message
        if (content[i] < '!' || content[i] > '~') {
          throw refused(file, "it holds more than one word of printable ASCII");
        }
      }
      return new Token(Arrays.copyOfRange(content, start, end));
    } finally {
      Arrays.fill(content, (byte) 0);
    }
  }

  private static boolean isSpace(byte b) {
    return b == ' ' || b == '\t' || b == '\r' || b == '\n';
  }

  private static ProviderException refused(PrivateFile file, String reason) {
    return new ProviderException(Code.REFUSED, file + " is refused: " + reason);
  }

  String header() {
    return new String(bytes, StandardCharsets.US_ASCII);
  }

  /** Tells this token from others without keeping it: its SHA-256. */
  byte[] fingerprint() {
    try {
      return MessageDigest.getInstance("SHA-256").digest(bytes);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  boolean isSameAs(Token other) {
    return MessageDigest.isEqual(bytes, other.bytes);
  }

  /** Whether {@code text} repeats the token. */
  boolean isIn(byte[] text) {
    return VaultAnswer.contains(text, bytes);
  }

  @Override
  public void close() {
    Arrays.fill(bytes, (byte) 0);
  }

  @Override
  public String toString() {
    return "Token";
  }
}
