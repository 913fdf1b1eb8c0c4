/** The Linux FUSE kernel protocol: sessions, mounting, requests and replies. */
module io.pgveil.fuse {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires org.slf4j;

  exports io.pgveil.fuse;
}
