/** Commands, the daemon and embedded PostgreSQL. */
module io.pgveil.app {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires io.pgveil.ciphers;
  requires io.pgveil.keys;
  requires io.pgveil.fuse;
  requires io.pgveil.datadir;
  requires info.picocli;
  requires com.fasterxml.jackson.databind;
  requires org.slf4j;

  opens io.pgveil.app to
      info.picocli;
}
