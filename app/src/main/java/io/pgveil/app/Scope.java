package io.pgveil.app;

import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Scopes of principal keys on the command line: {@code server}, {@code default} or an OID. */
final class Scope implements ITypeConverter<Long> {
  /** OID that stands for the server key: WAL and everything that is no database's. */
  static final long SERVER = 1664;

  /** OID that stands for the key of databases without one of their own. */
  static final long DEFAULT = 1663;

  private static final long MAX_OID = 0xffff_ffffL;

  @Override
  public Long convert(String text) {
    switch (text) {
      case "server" -> {
        return SERVER;
      }
      case "default" -> {
        return DEFAULT;
      }
      default -> {
        try {
          long oid = Long.parseLong(text);
          if (oid > 0 && oid <= MAX_OID) {
            return oid;
          }
        } catch (NumberFormatException e) {
          // told below
        }
        throw new TypeConversionException(
            "'" + text + "' is neither 'server' nor 'default' nor the OID of a database");
      }
    }
  }

  static String name(long oid) {
    if (oid == SERVER) {
      return "server";
    }
    return oid == DEFAULT ? "default" : "database " + oid;
  }
}
