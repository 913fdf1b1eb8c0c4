/**
 * Principal keys in HashiCorp Vault or OpenBao, key/value engine version 2: pg_tde's provider type
 * {@code vault-v2} (format 5.1 and 6.1). The JDK's HTTP client and a streaming JSON parser, no
 * framework.
 *
 * <p>What is beyond pg_tde: names are escaped; nothing is cut silently; a key is never overwritten;
 * passing failures are retried within a time budget; several addresses; plain http only where that
 * is harmless or asked for.
 */
@NullMarked
package io.pgveil.providers.vault;

import org.jspecify.annotations.NullMarked;
