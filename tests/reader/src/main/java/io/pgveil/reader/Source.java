package io.pgveil.reader;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;

/** The content of one file, with the name that violations report. */
final class Source {
  private final String file;
  private final byte[] data;
  private final ByteBuffer fields;

  Source(String file, byte[] data) {
    this.file = file;
    this.data = data;
    this.fields = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
  }

  static Source of(Path path) throws IOException {
    return new Source(path.toString(), Files.readAllBytes(path));
  }

  static boolean isZero(byte[] data, int from, int to) {
    for (int i = from; i < to; i++) {
      if (data[i] != 0) {
        return false;
      }
    }
    return true;
  }

  String file() {
    return file;
  }

  int size() {
    return data.length;
  }

  int u16(int at) {
    return Short.toUnsignedInt(fields.getShort(at));
  }

  int i32(int at) {
    return fields.getInt(at);
  }

  long u32(int at) {
    return Integer.toUnsignedLong(fields.getInt(at));
  }

  /** 64 bits; unsigned where the field is. */
  long u64(int at) {
    return fields.getLong(at);
  }

  byte[] array(int at, int length) {
    byte[] copy = new byte[length];
    fields.get(at, copy);
    return copy;
  }

  Bytes bytes(int at, int length) {
    return Bytes.of(array(at, length));
  }

  boolean isZero(int from, int to) {
    return isZero(data, from, to);
  }

  /** The UTF-8 text of a NUL-terminated field of {@code length} bytes; what follows is ignored. */
  String text(int at, int length, String field) {
    return new String(data, at, terminator(at, length, field) - at, StandardCharsets.UTF_8);
  }

  /** As {@link #text}, and what follows the first NUL must be zero. */
  String zeroFilledText(int at, int length, String field) {
    requireZero(terminator(at, length, field), at + length, "behind the NUL of the " + field);
    return text(at, length, field);
  }

  private int terminator(int at, int length, String field) {
    for (int i = at; i < at + length; i++) {
      if (data[i] == 0) {
        return i;
      }
    }
    throw violation(at, "a NUL in the " + field + " of " + length + " bytes", "none");
  }

  void require(boolean holds, long offset, String expected, Object found) {
    if (!holds) {
      throw violation(offset, expected, found);
    }
  }

  void requireSize(int least, String what) {
    require(data.length >= least, data.length, what + " of " + least + " bytes", "end of file");
  }

  void requireZero(int from, int to, String what) {
    for (int i = from; i < to; i++) {
      require(data[i] == 0, i, "zeros (" + what + ")", "byte " + Byte.toUnsignedInt(data[i]));
    }
  }

  FormatViolation violation(long offset, String expected, Object found) {
    return new FormatViolation(file, offset, expected, found.toString());
  }

  /** The bytes as they are on disk, as text: {@code 54 44 45 04}. */
  String hex(int at, int length) {
    return HexFormat.ofDelimiter(" ").formatHex(data, at, at + length);
  }
}
