package io.pgveil.reader;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The JSON of provider options (spec 5.1; RFC 8259): one flat object of strings, numbers and nulls.
 * Numbers are taken as their text, nulls are absent, of equal keys the last one counts.
 */
final class FlatJson {
  private final Source in;
  private final int offset;
  private final String text;
  private int at;

  FlatJson(Source in, int offset, String text) {
    this.in = in;
    this.offset = offset;
    this.text = text;
  }

  Map<String, String> object() {
    Map<String, String> members = new LinkedHashMap<>();
    expect('{');
    if (next() == '}') {
      at++;
    } else {
      do {
        String key = string();
        expect(':');
        member(members, key);
      } while (comma());
    }
    next();
    require(at == text.length(), "the end of the JSON text");
    return members;
  }

  private void member(Map<String, String> members, String key) {
    if (next() == '"') {
      members.put(key, string());
    } else if (text.startsWith("null", at)) {
      at += 4;
      members.remove(key);
    } else {
      int start = at;
      while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
        at++;
      }
      require(at > start, "a string, a number or null");
      members.put(key, text.substring(start, at));
    }
  }

  private boolean comma() {
    boolean more = next() == ',';
    if (!more) {
      expect('}');
    } else {
      at++;
    }
    return more;
  }

  private String string() {
    expect('"');
    StringBuilder value = new StringBuilder();
    while (peek() != '"') {
      char c = take();
      require(c >= ' ', "no control character in a string");
      value.append(c == '\\' ? escaped() : c);
    }
    at++;
    return value.toString();
  }

  private char escaped() {
    char c = take();
    return switch (c) {
      case '"', '\\', '/' -> c;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        int code = 0;
        for (int i = 0; i < 4; i++) {
          int digit = Character.digit(take(), 16);
          require(digit >= 0, "a hexadecimal digit");
          code = code * 16 + digit;
        }
        yield (char) code;
      }
      default -> throw in.violation(offset, "a JSON escape", "\\" + c);
    };
  }

  /** The next character that is no white space, or NUL at the end; it is not consumed. */
  private char next() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
    return peek();
  }

  private char peek() {
    return at < text.length() ? text.charAt(at) : '\0';
  }

  private char take() {
    require(at < text.length(), "more JSON");
    return text.charAt(at++);
  }

  private void expect(char c) {
    require(next() == c, "'" + c + "'");
    at++;
  }

  private void require(boolean holds, String expected) {
    in.require(holds, offset, expected + " in the JSON options at character " + at, text);
  }
}
