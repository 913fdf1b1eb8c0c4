/** The encrypted data directory: path, file kind, cipher and key of every file. */
module io.pgveil.datadir {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires io.pgveil.ciphers;
  requires io.pgveil.keys;
  requires io.pgveil.fuse;
  requires org.slf4j;

  exports io.pgveil.datadir;
  exports io.pgveil.datadir.check;
}
