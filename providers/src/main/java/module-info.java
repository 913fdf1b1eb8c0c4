/** Key providers that are reached over a network. */
module io.pgveil.providers {
  requires static org.jspecify;
  requires io.pgveil.keys;
  requires com.fasterxml.jackson.core;
  requires java.net.http;
  requires org.slf4j;

  provides io.pgveil.keys.KeyProviderFactory with
      io.pgveil.providers.kmip.KmipProviderFactory,
      io.pgveil.providers.vault.VaultProviderFactory;
}
