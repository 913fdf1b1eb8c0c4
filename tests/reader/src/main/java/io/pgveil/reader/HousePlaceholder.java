package io.pgveil.reader;

/** Stand-in. */
public final class HousePlaceholder {
  private HousePlaceholder() {}
}
