/**
 * A second reader of every on-disk format, written from the specification alone. It requires no
 * module of pgveil: what both agree on is not a shared mistake of one piece of code.
 */
module io.pgveil.reader {
  requires static org.jspecify;

  exports io.pgveil.reader;
}
