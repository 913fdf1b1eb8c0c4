package io.pgveil.providers.vault;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.util.JsonRecyclerPools;
import java.io.IOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * An answer of a server. Closing it clears the body, which may hold a key.
 *
 * @param address who has answered
 * @param request method and path
 * @param location of a redirection
 */
record VaultAnswer(URI address, String request, int status, @Nullable String location, byte[] body)
    implements AutoCloseable {
  private static final int MAX_REASON = 300;

  /** Far more than the Base64 form of 32 bytes. */
  private static final int MAX_KEY_TEXT = 128;

  /** Without a pool: its buffers would keep keys for the next user. */
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .recyclerPool(JsonRecyclerPools.nonRecyclingPool())
          .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(32).build())
          .build();

  /** What {@code data.data.key} holds. */
  sealed interface Key {
    /** There is none, or it is no text. */
    record None() implements Key {}

    /** It is not the Base64 form of a key; so long is its text. */
    record Malformed(int length) implements Key {}

    /** The decoded bytes, which the caller clears. */
    record Bytes(byte[] bytes) implements Key {}
  }

  private interface Visitor {
    /**
     * Is shown every value that is no object and no array.
     *
     * @param path for example {@code /data/data/key}
     */
    void value(String path, JsonParser parser) throws IOException;
  }

  private static void walk(byte[] json, Visitor visitor) throws IOException {
    try (JsonParser parser = JSON.createParser(json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new IOException("no object");
      }
      for (JsonToken t = parser.nextToken(); t != null; t = parser.nextToken()) {
        if (t.isScalarValue()) {
          visitor.value(parser.getParsingContext().pathAsPointer().toString(), parser);
        }
      }
    }
  }

  /**
   * The key of a secret (pg_tde format 6.1).
   *
   * @throws IOException if the body is no JSON object; the message quotes it
   */
  Key key() throws IOException {
    Key[] found = {new Key.None()};
    try {
      walk(
          body,
          (path, parser) -> {
            if (path.equals("/data/data/key")) {
              clear(found[0]);
              found[0] = new Key.None();
              if (parser.currentToken() == JsonToken.VALUE_STRING) {
                found[0] = decode(parser);
              }
            }
          });
    } catch (IOException e) {
      clear(found[0]);
      throw e;
    }
    return found[0];
  }

  private static void clear(Key key) {
    if (key instanceof Key.Bytes k) {
      Arrays.fill(k.bytes, (byte) 0);
    }
  }

  private static Key decode(JsonParser parser) throws IOException {
    int length = parser.getTextLength();
    if (length > MAX_KEY_TEXT) {
      return new Key.Malformed(length);
    }
    byte[] text = text(parser);
    try {
      return new Key.Bytes(Base64.getDecoder().decode(text));
    } catch (IllegalArgumentException e) {
      return new Key.Malformed(length);
    } finally {
      Arrays.fill(text, (byte) 0);
    }
  }

  /**
   * By way of the parser's own buffer, which is cleared: a String could not be. What is not ASCII
   * becomes 0.
   */
  private static byte[] text(JsonParser parser) throws IOException {
    char[] buffer = parser.getTextCharacters();
    int at = parser.getTextOffset();
    byte[] text = new byte[parser.getTextLength()];
    for (int i = 0; i < text.length; i++) {
      char c = buffer[at + i];
      text[i] = c < 128 ? (byte) c : 0;
      buffer[at + i] = 0;
    }
    return text;
  }

  /**
   * The token that a login has given, which the caller clears; null if there is none that could be
   * a header.
   *
   * @throws IOException if the body is no JSON object; the message quotes it
   */
  byte @Nullable [] token() throws IOException {
    byte[][] found = {{}};
    walk(
        body,
        (path, parser) -> {
          if (path.equals("/auth/client_token")
              && parser.currentToken() == JsonToken.VALUE_STRING) {
            Arrays.fill(found[0], (byte) 0);
            found[0] = text(parser);
          }
        });
    byte[] token = found[0];
    boolean fits = token.length > 0 && token.length <= Token.MAX_SIZE;
    for (byte b : token) {
      fits &= Token.isPrintable(b);
    }
    if (!fits) {
      Arrays.fill(token, (byte) 0);
    }
    return fits ? token : null;
  }

  /**
   * Some texts, numbers and truth values, by their paths; the others may be secret.
   *
   * @throws IOException if the body is no JSON object; the message quotes it
   */
  Map<String, String> fields(String... paths) throws IOException {
    List<String> wanted = List.of(paths);
    Map<String, String> fields = new TreeMap<>();
    walk(
        body,
        (path, parser) -> {
          if (wanted.contains(path)) {
            fields.put(path, parser.getText());
          }
        });
    return fields;
  }

  /** What the server says of its refusal; empty if it says nothing. */
  String said() {
    List<String> errors = new ArrayList<>();
    try {
      walk(
          body,
          (path, parser) -> {
            if (path.startsWith("/errors/")) {
              errors.add(parser.getText());
            }
          });
    } catch (IOException e) {
      return "";
    }
    return String.join("; ", errors).replaceAll("[\\p{Cntrl}\\s]+", " ").strip();
  }

  /** The same, short enough for a message. */
  String errors() {
    String text = said();
    return text.length() <= MAX_REASON ? text : text.substring(0, MAX_REASON) + "...";
  }

  /** Status and reason, for a message. */
  String reason() {
    String errors = errors();
    return "%s %s: HTTP %d%s"
        .formatted(address, request, status, errors.isEmpty() ? "" : ": " + errors);
  }

  static boolean contains(byte[] text, byte[] secret) {
    for (int at = 0; at + secret.length <= text.length; at++) {
      if (Arrays.equals(text, at, at + secret.length, secret, 0, secret.length)) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void close() {
    Arrays.fill(body, (byte) 0);
  }

  @Override
  public String toString() {
    return "VaultAnswer[" + request + ", " + status + "]";
  }
}
