package io.pgveil.providers.kmip;

/** What a server is asked to do. */
enum Operation {
  REGISTER(0x03, "Register"),
  LOCATE(0x08, "Locate"),
  GET(0x0A, "Get"),
  GET_ATTRIBUTES(0x0B, "Get Attributes"),
  DESTROY(0x14, "Destroy"),
  QUERY(0x18, "Query"),
  DISCOVER_VERSIONS(0x1E, "Discover Versions");

  /** In messages. */
  final int number;

  private final String text;

  Operation(int number, String text) {
    this.number = number;
    this.text = text;
  }

  /** Its name in the standard. */
  @Override
  public String toString() {
    return text;
  }
}
