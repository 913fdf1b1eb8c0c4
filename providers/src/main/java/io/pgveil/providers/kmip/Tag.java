package io.pgveil.providers.kmip;

/** Tags and numbers of KMIP (KMIP 1.4, section 9.1.3; KMIP 2.0, section 11). */
final class Tag {
  static final int ATTRIBUTE = 0x420008;
  static final int ATTRIBUTE_NAME = 0x42000A;
  static final int ATTRIBUTE_VALUE = 0x42000B;
  static final int BATCH_COUNT = 0x42000D;
  static final int BATCH_ITEM = 0x42000F;
  static final int CRYPTOGRAPHIC_ALGORITHM = 0x420028;
  static final int CRYPTOGRAPHIC_LENGTH = 0x42002A;
  static final int CRYPTOGRAPHIC_USAGE_MASK = 0x42002C;
  static final int KEY_BLOCK = 0x420040;
  static final int KEY_COMPRESSION_TYPE = 0x420041;
  static final int KEY_FORMAT_TYPE = 0x420042;
  static final int KEY_MATERIAL = 0x420043;
  static final int KEY_VALUE = 0x420045;
  static final int KEY_WRAPPING_DATA = 0x420046;
  static final int MAXIMUM_ITEMS = 0x42004F;
  static final int MAXIMUM_RESPONSE_SIZE = 0x420050;
  static final int NAME = 0x420053;
  static final int NAME_TYPE = 0x420054;
  static final int NAME_VALUE = 0x420055;
  static final int OBJECT_TYPE = 0x420057;
  static final int OPERATION = 0x42005C;
  static final int PROTOCOL_VERSION = 0x420069;
  static final int PROTOCOL_VERSION_MAJOR = 0x42006A;
  static final int PROTOCOL_VERSION_MINOR = 0x42006B;
  static final int QUERY_FUNCTION = 0x420074;
  static final int REQUEST_HEADER = 0x420077;
  static final int REQUEST_MESSAGE = 0x420078;
  static final int REQUEST_PAYLOAD = 0x420079;
  static final int RESPONSE_HEADER = 0x42007A;
  static final int RESPONSE_MESSAGE = 0x42007B;
  static final int RESPONSE_PAYLOAD = 0x42007C;
  static final int RESULT_MESSAGE = 0x42007D;
  static final int RESULT_REASON = 0x42007E;
  static final int RESULT_STATUS = 0x42007F;
  static final int STATE = 0x42008D;
  static final int SYMMETRIC_KEY = 0x42008F;
  static final int TEMPLATE_ATTRIBUTE = 0x420091;
  static final int TIME_STAMP = 0x420092;
  static final int UNIQUE_IDENTIFIER = 0x420094;

  /** Of KMIP 2.0. */
  static final int ATTRIBUTES = 0x420125;

  /** Of KMIP 2.0. */
  static final int ATTRIBUTE_REFERENCE = 0x42013B;

  private Tag() {}
}
