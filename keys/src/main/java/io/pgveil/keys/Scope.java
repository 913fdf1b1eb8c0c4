package io.pgveil.keys;

/**
 * Whose principal key: a database's, the server's, or the default key's.
 *
 * <p>As the owner of key providers {@link #SERVER} means the global ones.
 *
 * @param oid the database OID, 1664 for the server, 1663 for the default key; 0 stands for the
 *     shared relations in {@code global/}, which use the server's principal key
 */
public record Scope(int oid) {
  public static final Scope SERVER = new Scope(1664);
  public static final Scope DEFAULT = new Scope(1663);

  public static Scope database(int oid) {
    return new Scope(oid);
  }

  /** Whether this is a database with a principal key of its own. */
  public boolean isDatabase() {
    return oid != 0 && !equals(SERVER) && !equals(DEFAULT);
  }

  /** For messages. */
  @Override
  public String toString() {
    return switch (oid) {
      case 0 -> "the shared relations";
      case 1663 -> "the default key";
      case 1664 -> "the server";
      default -> "database " + Integer.toUnsignedString(oid);
    };
  }
}
