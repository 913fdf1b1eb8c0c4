package io.pgveil.providers.kmip;

import static io.pgveil.providers.kmip.Ttlv.Structure;
import static io.pgveil.providers.kmip.Ttlv.Value;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

/** Requests as pg_tde makes them (format 6.2), one operation each. */
record Request(Operation operation, List<Ttlv> payload) {
  /** The longest answer that is taken, in bytes. */
  static final int MAX_ANSWER = 8192;

  private static final int SYMMETRIC_KEY = 2;
  private static final int AES = 3;
  private static final int ENCRYPT_AND_DECRYPT = 0x0C;
  private static final int RAW = 1;
  private static final int UNINTERPRETED_TEXT = 1;
  private static final int QUERY_OPERATIONS = 1;
  private static final int MAX_MATCHES = 16;

  /** An attribute, which KMIP 1 names by a text and KMIP 2 by the tag of its value. */
  private record Attribute(String name, Ttlv value) {
    Ttlv named() {
      Ttlv inner =
          switch (value) {
            case Structure s -> new Structure(Tag.ATTRIBUTE_VALUE, s.items());
            case Value v -> new Value(Tag.ATTRIBUTE_VALUE, v.type(), v.bytes());
          };
      return Structure.of(Tag.ATTRIBUTE, Value.text(Tag.ATTRIBUTE_NAME, name), inner);
    }
  }

  private static Attribute number(String name, int tag, int value) {
    return new Attribute(name, Value.integer(tag, value));
  }

  private static Attribute choice(String name, int tag, int value) {
    return new Attribute(name, Value.enumeration(tag, value));
  }

  private static Attribute name(byte[] name) {
    return new Attribute(
        "Name",
        Structure.of(
            Tag.NAME,
            Value.text(Tag.NAME_VALUE, name),
            Value.enumeration(Tag.NAME_TYPE, UNINTERPRETED_TEXT)));
  }

  private static Ttlv inKmip2(List<Attribute> attributes) {
    return new Structure(Tag.ATTRIBUTES, attributes.stream().map(Attribute::value).toList());
  }

  static Request discoverVersions() {
    return new Request(
        Operation.DISCOVER_VERSIONS, Version.KNOWN.stream().map(Version::item).toList());
  }

  static Request queryOperations() {
    return new Request(
        Operation.QUERY, List.of(Value.enumeration(Tag.QUERY_FUNCTION, QUERY_OPERATIONS)));
  }

  static Request locate(Version version, byte[] name) {
    List<Attribute> attributes =
        List.of(choice("Object Type", Tag.OBJECT_TYPE, SYMMETRIC_KEY), name(name));
    List<Ttlv> payload = new ArrayList<>();
    payload.add(Value.integer(Tag.MAXIMUM_ITEMS, MAX_MATCHES));
    if (version.major() == 1) {
      attributes.forEach(a -> payload.add(a.named()));
    } else {
      payload.add(inKmip2(attributes));
    }
    return new Request(Operation.LOCATE, payload);
  }

  static Request get(String id) {
    return ofObject(Operation.GET, id);
  }

  static Request destroy(String id) {
    return ofObject(Operation.DESTROY, id);
  }

  private static Request ofObject(Operation operation, String id) {
    return new Request(operation, List.of(Value.text(Tag.UNIQUE_IDENTIFIER, id)));
  }

  static Request getState(Version version, String id) {
    return new Request(
        Operation.GET_ATTRIBUTES,
        List.of(
            Value.text(Tag.UNIQUE_IDENTIFIER, id),
            version.major() == 1
                ? Value.text(Tag.ATTRIBUTE_NAME, "State")
                : Value.enumeration(Tag.ATTRIBUTE_REFERENCE, Tag.STATE)));
  }

  /**
   * A key of its own name. It stays Pre-Active, as with pg_tde.
   *
   * @param key 16 or 32 bytes, of which the request has no copy
   */
  static Request register(Version version, byte[] name, byte[] key) {
    int bits = 8 * key.length;
    List<Attribute> attributes =
        List.of(
            choice("Cryptographic Algorithm", Tag.CRYPTOGRAPHIC_ALGORITHM, AES),
            number("Cryptographic Length", Tag.CRYPTOGRAPHIC_LENGTH, bits),
            number("Cryptographic Usage Mask", Tag.CRYPTOGRAPHIC_USAGE_MASK, ENCRYPT_AND_DECRYPT),
            name(name));
    Ttlv template =
        version.major() == 1
            ? new Structure(
                Tag.TEMPLATE_ATTRIBUTE, attributes.stream().map(Attribute::named).toList())
            : inKmip2(attributes);
    // pg_tde names a compression, which is for EC keys; servers are known to take it
    Ttlv block =
        Structure.of(
            Tag.KEY_BLOCK,
            Value.enumeration(Tag.KEY_FORMAT_TYPE, RAW),
            Value.enumeration(Tag.KEY_COMPRESSION_TYPE, 1),
            Structure.of(Tag.KEY_VALUE, Value.bytes(Tag.KEY_MATERIAL, key)),
            Value.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, AES),
            Value.integer(Tag.CRYPTOGRAPHIC_LENGTH, bits));
    return new Request(
        Operation.REGISTER,
        List.of(
            Value.enumeration(Tag.OBJECT_TYPE, SYMMETRIC_KEY),
            template,
            Structure.of(Tag.SYMMETRIC_KEY, block)));
  }

  /** The message; the caller clears it, for it may hold a key. */
  byte[] encode(Version version, Instant now) {
    return Ttlv.encode(
        Structure.of(
            Tag.REQUEST_MESSAGE,
            Structure.of(
                Tag.REQUEST_HEADER,
                version.item(),
                Value.integer(Tag.MAXIMUM_RESPONSE_SIZE, MAX_ANSWER),
                Value.dateTime(Tag.TIME_STAMP, now.getEpochSecond()),
                Value.integer(Tag.BATCH_COUNT, 1)),
            Structure.of(
                Tag.BATCH_ITEM,
                Value.enumeration(Tag.OPERATION, operation.number),
                new Structure(Tag.REQUEST_PAYLOAD, payload))));
  }

  @Override
  public String toString() {
    return operation.toString();
  }
}
