package io.pgveil.providers.kmip;

import static io.pgveil.providers.kmip.Ttlv.Structure;
import static io.pgveil.providers.kmip.Ttlv.Type;
import static io.pgveil.providers.kmip.Ttlv.Value;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The answer to one request. Closing it clears the message, which may hold a key.
 *
 * @param payload empty if the operation failed
 */
record Answer(byte[] message, @Nullable Failure failure, Structure payload)
    implements AutoCloseable {
  private static final int SUCCESS = 0;
  private static final int FAILED = 1;
  private static final int SYMMETRIC_KEY = 2;
  private static final int RAW = 1;
  private static final int MAX_TEXT = 300;

  /**
   * Why an operation failed.
   *
   * @param reason a number, see {@link #REASONS}
   * @param said the server's own words, short and without control characters; may be empty
   */
  record Failure(int reason, String said) {
    static final int ITEM_NOT_FOUND = 0x01;
    static final int AUTHENTICATION = 0x03;
    static final int INVALID_MESSAGE = 0x04;
    static final int NOT_SUPPORTED = 0x05;
    static final int PERMISSION_DENIED = 0x0C;
    static final int UNSUPPORTED_VERSION = 0x3F;
    static final int GENERAL_FAILURE = 0x100;

    private static final Map<Integer, String> REASONS =
        Map.of(
            ITEM_NOT_FOUND,
            "item not found",
            0x02,
            "response too large",
            AUTHENTICATION,
            "authentication not successful",
            INVALID_MESSAGE,
            "invalid message",
            NOT_SUPPORTED,
            "operation not supported",
            0x07,
            "invalid field",
            0x08,
            "feature not supported",
            PERMISSION_DENIED,
            "permission denied",
            UNSUPPORTED_VERSION,
            "unsupported protocol version",
            GENERAL_FAILURE,
            "general failure");

    String name() {
      return REASONS.getOrDefault(reason, "result reason 0x%X".formatted(reason));
    }

    /** For a message. */
    String text() {
      return said.isEmpty() ? name() : name() + ": " + said;
    }
  }

  /** The bytes of a key, or why there are none. */
  sealed interface Key {
    /** The caller clears them. */
    record Bytes(byte[] bytes) implements Key {}

    /** It is not of the form that pg_tde stores. */
    record Foreign(String reason) implements Key {}
  }

  /**
   * Reads an answer.
   *
   * @param message taken over
   * @throws MalformedException if it is none to such a request; the message quotes no value
   */
  static Answer read(byte[] message, Operation operation) throws MalformedException {
    if (!(Ttlv.decode(message) instanceof Structure root) || root.tag() != Tag.RESPONSE_MESSAGE) {
      throw new MalformedException("it is no response");
    }
    root.structure(Tag.RESPONSE_HEADER).structure(Tag.PROTOCOL_VERSION);
    int count = root.structure(Tag.RESPONSE_HEADER).integer(Tag.BATCH_COUNT);
    Structure item = root.structure(Tag.BATCH_ITEM);
    if (count != 1) {
      throw new MalformedException("it answers %d requests".formatted(count));
    }
    boolean said = item.find(Tag.OPERATION) != null;
    if (said && item.enumeration(Tag.OPERATION) != operation.number) {
      throw new MalformedException("it answers another operation");
    }
    int status = item.enumeration(Tag.RESULT_STATUS);
    Structure nothing = Structure.of(Tag.RESPONSE_PAYLOAD);
    if (status == FAILED) {
      return new Answer(message, failure(item), nothing);
    }
    if (status != SUCCESS || !said) {
      throw new MalformedException("its result status is %d".formatted(status));
    }
    return new Answer(
        message,
        null,
        item.find(Tag.RESPONSE_PAYLOAD) == null ? nothing : item.structure(Tag.RESPONSE_PAYLOAD));
  }

  private static Failure failure(Structure item) throws MalformedException {
    return new Failure(
        item.enumeration(Tag.RESULT_REASON),
        item.find(Tag.RESULT_MESSAGE) == null ? "" : plain(item.text(Tag.RESULT_MESSAGE)));
  }

  /** What a server says, short enough for a message and without control characters. */
  static String plain(String text) {
    String line = text.replaceAll("[\\p{Cntrl}\\s]+", " ").strip();
    return line.length() <= MAX_TEXT ? line : line.substring(0, MAX_TEXT) + "...";
  }

  /** Those that both know; empty if there are none. */
  List<Version> versions() throws MalformedException {
    List<Version> offered = new ArrayList<>();
    for (Ttlv item : payload.all(Tag.PROTOCOL_VERSION)) {
      if (!(item instanceof Structure s)) {
        throw new MalformedException("a version is no structure");
      }
      offered.add(
          new Version(
              s.integer(Tag.PROTOCOL_VERSION_MAJOR), s.integer(Tag.PROTOCOL_VERSION_MINOR)));
    }
    return Version.KNOWN.stream().filter(offered::contains).toList();
  }

  /** Whether a server that was queried offers an operation. */
  boolean offers(Operation operation) throws MalformedException {
    for (Ttlv item : payload.all(Tag.OPERATION)) {
      if (Value.of(item, Type.ENUMERATION).bytes().getInt(0) == operation.number) {
        return true;
      }
    }
    return false;
  }

  /** The objects that were located. */
  List<String> ids() throws MalformedException {
    List<String> ids = new ArrayList<>();
    for (Ttlv item : payload.all(Tag.UNIQUE_IDENTIFIER)) {
      ids.add(Value.of(item, Type.TEXT_STRING).text());
    }
    return ids;
  }

  /** The object that was made. */
  String id() throws MalformedException {
    return payload.text(Tag.UNIQUE_IDENTIFIER);
  }

  /** The attribute State; {@link State#UNKNOWN} if it is not told. */
  State state() throws MalformedException {
    if (payload.find(Tag.ATTRIBUTES) != null) {
      Structure attributes = payload.structure(Tag.ATTRIBUTES);
      return attributes.find(Tag.STATE) == null
          ? State.UNKNOWN
          : State.of(attributes.enumeration(Tag.STATE));
    }
    for (Ttlv item : payload.all(Tag.ATTRIBUTE)) {
      if (item instanceof Structure a && a.text(Tag.ATTRIBUTE_NAME).equals("State")) {
        return State.of(a.enumeration(Tag.ATTRIBUTE_VALUE));
      }
    }
    return State.UNKNOWN;
  }

  /** The key that was got. */
  Key key() throws MalformedException {
    if (payload.enumeration(Tag.OBJECT_TYPE) != SYMMETRIC_KEY) {
      return new Key.Foreign("the object is no symmetric key");
    }
    Structure block = payload.structure(Tag.SYMMETRIC_KEY).structure(Tag.KEY_BLOCK);
    if (block.find(Tag.KEY_WRAPPING_DATA) != null) {
      return new Key.Foreign("the key is wrapped by another");
    }
    if (block.enumeration(Tag.KEY_FORMAT_TYPE) != RAW) {
      return new Key.Foreign("the key is not in the format Raw");
    }
    byte[] bytes = block.structure(Tag.KEY_VALUE).bytes(Tag.KEY_MATERIAL);
    if (bytes.length == 16 || bytes.length == 32) {
      return new Key.Bytes(bytes);
    }
    Arrays.fill(bytes, (byte) 0);
    return new Key.Foreign("invalid key size: %d bytes, not 16 or 32".formatted(bytes.length));
  }

  @Override
  public void close() {
    Arrays.fill(message, (byte) 0);
  }

  @Override
  public String toString() {
    return "Answer[" + (failure == null ? "success" : failure.name()) + "]";
  }
}
