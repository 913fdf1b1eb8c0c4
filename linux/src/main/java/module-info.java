/** Linux system calls over java.lang.foreign; knows nothing of keys, FUSE or PostgreSQL. */
module io.pgveil.linux {
  requires static org.jspecify;

  exports io.pgveil.linux;
}
