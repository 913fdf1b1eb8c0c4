/** Key hierarchy, key directory, principal-key cache and the key provider SPI. */
module io.pgveil.keys {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires com.fasterxml.jackson.core;
  requires org.slf4j;

  exports io.pgveil.keys;

  uses io.pgveil.keys.KeyProviderFactory;

  provides io.pgveil.keys.KeyProviderFactory with
      io.pgveil.keys.file.FileProviderFactory;
}
