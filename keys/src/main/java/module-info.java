/** Key hierarchy, key directory, principal-key cache and the key provider SPI. */
module io.pgveil.keys {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires com.fasterxml.jackson.databind;
  requires org.slf4j;

  exports io.pgveil.keys;
}
