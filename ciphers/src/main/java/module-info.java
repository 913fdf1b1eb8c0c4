/** Page, WAL and sealed-file ciphers: pure functions over memory, no I/O. */
module io.pgveil.ciphers {
  requires static org.jspecify;

  exports io.pgveil.ciphers;
}
