/**
 * Principal keys in a server that speaks KMIP, the Key Management Interoperability Protocol of
 * OASIS: pg_tde's provider type {@code kmip} (format 5.1 and 6.2). The JDK's TLS and a codec of our
 * own (docs/decisions/0015).
 *
 * <p>What is beyond pg_tde: the server's certificate and host name are verified; everything has a
 * time-out; several servers; a name is never stored twice; nothing is cut silently; the state of a
 * key is respected; versions 1.0 to 1.4 and 2.0.
 */
@NullMarked
package io.pgveil.providers.kmip;

import org.jspecify.annotations.NullMarked;
