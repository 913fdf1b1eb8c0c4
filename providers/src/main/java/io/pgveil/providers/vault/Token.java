package io.pgveil.providers.vault;

import static io.pgveil.providers.vault.VaultAnswer.contains;
import static java.nio.charset.StandardCharsets.US_ASCII;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.net.URI;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A credential for one request, as it is in its file at that moment, a token or a secret id: it is
 * kept nowhere, so a file that an agent replaces needs no notice. Or a token that a login has
 * given.
 *
 * <p>The bytes are cleared by {@link #close}. The JDK's HTTP client takes headers as texts only, so
 * {@link #header} makes one for each request; how long the client keeps it is said in
 * docs/decisions/0013.
 */
final class Token implements AutoCloseable {
  /** A JWT with many claims has some thousand. */
  static final int MAX_SIZE = 8192;

  private final PrivateFile file;
  private final byte[] bytes;
  private final List<String> addresses;

  private Token(PrivateFile file, byte[] bytes, List<String> addresses) {
    this.file = file;
    this.bytes = bytes;
    this.addresses = addresses;
  }

  /** The token that a login with this secret id has given: it may go where the secret id may. */
  Token issued(byte[] token) {
    return new Token(file, token, addresses);
  }

  /** With bytes of its own. */
  Token copy() {
    return issued(bytes.clone());
  }

  /** The first word of the file, as in pg_tde; the others are addresses. */
  static Token read(PrivateFile file) throws ProviderException {
    byte[] content = file.read(MAX_SIZE);
    try {
      int start = 0;
      while (start < content.length && isSpace(content[start])) {
        start++;
      }
      int end = start;
      while (end < content.length && !isSpace(content[end])) {
        // the HTTP client would show such a token in its message
        if (!isPrintable(content[end])) {
          throw refused(file, "it holds other characters than printable ASCII");
        }
        end++;
      }
      if (start == end) {
        throw refused(file, "it is empty");
      }
      return new Token(
          file, Arrays.copyOfRange(content, start, end), addresses(file, content, end));
    } finally {
      Arrays.fill(content, (byte) 0);
    }
  }

  /** What follows is shown to nobody unless it is an address: it may be half a token. */
  private static List<String> addresses(PrivateFile file, byte[] content, int at)
      throws ProviderException {
    List<String> addresses = new ArrayList<>();
    int start = at;
    for (int i = at; i <= content.length; i++) {
      if (i < content.length && !isSpace(content[i])) {
        continue;
      }
      if (i > start) {
        if (!contains(Arrays.copyOfRange(content, start, i), "://".getBytes(US_ASCII))) {
          throw refused(file, "it holds more than one word, and what follows is no address");
        }
        addresses.add(new String(content, start, i - start, US_ASCII).replaceAll("/+$", ""));
      }
      start = i + 1;
    }
    return addresses;
  }

  /** Printable ASCII without the space. */
  static boolean isPrintable(byte b) {
    return b >= '!' && b <= '~';
  }

  private static boolean isSpace(byte b) {
    return b == ' ' || b == '\t' || b == '\r' || b == '\n';
  }

  private static ProviderException refused(PrivateFile file, String reason) {
    return new ProviderException(Code.REFUSED, file + " is refused: " + reason);
  }

  /**
   * Whoever can write to the cipher directory can change the provider's address, so the file may
   * say where its content may go.
   */
  void requireAllowedAt(URI address) throws ProviderException {
    if (!addresses.isEmpty() && !addresses.contains(address.toString())) {
      throw new ProviderException(
          Code.REFUSED,
          "%s does not allow its %s to be sent to %s"
              .formatted(file, file.what().replaceFirst(" file$", ""), address));
    }
  }

  /** The value of a header. */
  String header() {
    return new String(bytes, US_ASCII);
  }

  /** As a text in JSON, with its quotation marks; the caller clears it. */
  byte[] json() {
    byte[] out = new byte[2 * bytes.length + 2];
    int n = 0;
    out[n++] = '"';
    for (byte b : bytes) {
      if (b == '"' || b == '\\') {
        out[n++] = '\\';
      }
      out[n++] = b;
    }
    out[n++] = '"';
    byte[] text = Arrays.copyOf(out, n);
    Arrays.fill(out, (byte) 0);
    return text;
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
    return contains(text, bytes);
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
