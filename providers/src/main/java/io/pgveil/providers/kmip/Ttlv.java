package io.pgveil.providers.kmip;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An item of a KMIP message (KMIP 1.4, section 9.1; KMIP 2.0, TTLV encoding): tag, type, length,
 * value, big-endian.
 *
 * <pre>
 * 0  3  tag
 * 3  1  type
 * 4  4  length of the value without padding
 * 8     value, zero bytes up to a multiple of 8
 * </pre>
 *
 * <p>The decoder takes exactly what the encoder makes: one item, lengths that fit their type, zero
 * padding, nothing behind. Values are views of the decoded bytes, so clearing these clears all.
 */
sealed interface Ttlv {
  /** Seven are needed to get to the bytes of a key. */
  int MAX_DEPTH = 16;

  /** Type, number and length of values. */
  enum Type {
    STRUCTURE(1, -1),
    INTEGER(2, 4),
    LONG_INTEGER(3, 8),
    BIG_INTEGER(4, -1),
    ENUMERATION(5, 4),
    BOOLEAN(6, 8),
    TEXT_STRING(7, -1),
    BYTE_STRING(8, -1),
    DATE_TIME(9, 8),
    INTERVAL(10, 4),
    DATE_TIME_EXTENDED(11, 8);

    private final int number;

    /** Of its values in bytes, -1 if it differs. */
    private final int length;

    Type(int number, int length) {
      this.number = number;
      this.length = length;
    }
  }

  /** See {@link Tag}. */
  int tag();

  /** Items in items. */
  record Structure(int tag, List<Ttlv> items) implements Ttlv {
    public Structure {
      items = List.copyOf(items);
    }

    static Structure of(int tag, Ttlv... items) {
      return new Structure(tag, List.of(items));
    }

    /** All items of a tag. */
    List<Ttlv> all(int tag) {
      return items.stream().filter(i -> i.tag() == tag).toList();
    }

    /**
     * The one item of a tag; null if there is none.
     *
     * @throws MalformedException if there are several
     */
    @Nullable Ttlv find(int tag) throws MalformedException {
      List<Ttlv> all = all(tag);
      if (all.size() > 1) {
        throw new MalformedException("%s holds several %s".formatted(hex(this.tag), hex(tag)));
      }
      return all.isEmpty() ? null : all.getFirst();
    }

    private Ttlv one(int tag) throws MalformedException {
      Ttlv item = find(tag);
      if (item == null) {
        throw new MalformedException("%s lacks %s".formatted(hex(this.tag), hex(tag)));
      }
      return item;
    }

    Structure structure(int tag) throws MalformedException {
      if (one(tag) instanceof Structure s) {
        return s;
      }
      throw new MalformedException(hex(tag) + " is no structure");
    }

    private Value value(int tag, Type type) throws MalformedException {
      return Value.of(one(tag), type);
    }

    int integer(int tag) throws MalformedException {
      return value(tag, Type.INTEGER).bytes().getInt(0);
    }

    int enumeration(int tag) throws MalformedException {
      return value(tag, Type.ENUMERATION).bytes().getInt(0);
    }

    String text(int tag) throws MalformedException {
      return value(tag, Type.TEXT_STRING).text();
    }

    /** A copy, which the caller clears if it is secret. */
    byte[] bytes(int tag) throws MalformedException {
      return value(tag, Type.BYTE_STRING).copy();
    }
  }

  /** One value, without padding; texts are bytes, because a key name need not be UTF-8. */
  record Value(int tag, Type type, ByteBuffer bytes) implements Ttlv {
    public Value {
      if (type == Type.STRUCTURE || !fits(type, bytes)) {
        throw new IllegalArgumentException(type + " of " + bytes.remaining() + " bytes");
      }
      bytes = bytes.slice().asReadOnlyBuffer();
    }

    private static boolean fits(Type type, ByteBuffer bytes) {
      int n = bytes.remaining();
      return switch (type) {
        case BIG_INTEGER -> n > 0 && n % 8 == 0;
        case BOOLEAN -> n == 8 && (bytes.getLong(bytes.position()) & ~1L) == 0;
        default -> type.length < 0 || n == type.length;
      };
    }

    static Value integer(int tag, int value) {
      return new Value(tag, Type.INTEGER, ByteBuffer.allocate(4).putInt(0, value));
    }

    static Value enumeration(int tag, int value) {
      return new Value(tag, Type.ENUMERATION, ByteBuffer.allocate(4).putInt(0, value));
    }

    static Value dateTime(int tag, long secondsSince1970) {
      return new Value(tag, Type.DATE_TIME, ByteBuffer.allocate(8).putLong(0, secondsSince1970));
    }

    static Value text(int tag, byte[] utf8) {
      return new Value(tag, Type.TEXT_STRING, ByteBuffer.wrap(utf8));
    }

    static Value text(int tag, String text) {
      return text(tag, text.getBytes(UTF_8));
    }

    static Value bytes(int tag, byte[] bytes) {
      return new Value(tag, Type.BYTE_STRING, ByteBuffer.wrap(bytes));
    }

    static Value of(Ttlv item, Type type) throws MalformedException {
      if (item instanceof Value v && v.type == type) {
        return v;
      }
      throw new MalformedException(hex(item.tag()) + " is no " + type);
    }

    String text() {
      return UTF_8.decode(bytes.duplicate()).toString();
    }

    private byte[] copy() {
      byte[] copy = new byte[bytes.remaining()];
      bytes.get(0, copy);
      return copy;
    }
  }

  private static String hex(int tag) {
    return "item %06X".formatted(tag);
  }

  /** The bytes of an item. */
  static byte[] encode(Ttlv item) {
    ByteBuffer out = ByteBuffer.allocate(8 + padded(length(item)));
    write(item, out);
    return out.array();
  }

  private static int padded(int length) {
    return (length + 7) & ~7;
  }

  private static int length(Ttlv item) {
    return switch (item) {
      case Structure s -> s.items.stream().mapToInt(i -> 8 + padded(length(i))).sum();
      case Value v -> v.bytes.remaining();
    };
  }

  private static void write(Ttlv item, ByteBuffer out) {
    int length = length(item);
    Type type = item instanceof Value v ? v.type : Type.STRUCTURE;
    out.putInt(item.tag() << 8 | type.number).putInt(length);
    switch (item) {
      case Structure s -> s.items.forEach(i -> write(i, out));
      case Value v ->
          out.put(v.bytes.duplicate()).position(out.position() + padded(length) - length);
    }
  }

  /**
   * The inverse of {@link #encode}.
   *
   * @throws MalformedException for anything that no encoder makes; the message quotes no value
   */
  static Ttlv decode(byte[] message) throws MalformedException {
    ByteBuffer in = ByteBuffer.wrap(message);
    Ttlv item = read(in, 1);
    if (in.hasRemaining()) {
      throw new MalformedException("%d bytes behind the message".formatted(in.remaining()));
    }
    return item;
  }

  private static Ttlv read(ByteBuffer in, int depth) throws MalformedException {
    if (in.remaining() < 8) {
      throw new MalformedException("an item is cut off");
    }
    int tag = in.getInt(in.position()) >>> 8;
    // KMIP 1.4, section 9.1.3.1: those of the standard and those of extensions
    if (tag >>> 16 != 0x42 && tag >>> 16 != 0x54) {
      throw new MalformedException("%06X is no tag of an item".formatted(tag));
    }
    Type type = type(in.getInt() & 0xff);
    int length = in.getInt();
    if (length < 0 || length > in.remaining() || padded(length) > in.remaining()) {
      throw new MalformedException("%s is longer than what holds it".formatted(hex(tag)));
    }
    ByteBuffer value = in.slice(in.position(), length);
    for (int i = length; i < padded(length); i++) {
      if (in.get(in.position() + i) != 0) {
        throw new MalformedException("the padding of %s is not zero".formatted(hex(tag)));
      }
    }
    in.position(in.position() + padded(length));
    if (type != Type.STRUCTURE) {
      if (!Value.fits(type, value)) {
        throw new MalformedException("%s is no %s".formatted(hex(tag), type));
      }
      return new Value(tag, type, value);
    }
    if (depth == MAX_DEPTH || length % 8 != 0) {
      throw new MalformedException("%s is too deep or ends within an item".formatted(hex(tag)));
    }
    List<Ttlv> items = new ArrayList<>();
    while (value.hasRemaining()) {
      items.add(read(value, depth + 1));
    }
    return new Structure(tag, items);
  }

  private static Type type(int number) throws MalformedException {
    if (number < 1 || number > Type.values().length) {
      throw new MalformedException("%d is no type of an item".formatted(number));
    }
    return Type.values()[number - 1];
  }
}
