/** Tests of the ciphers; {@link io.pgveil.ciphers.CipherBench} prints their throughput. */
@NullMarked
package io.pgveil.ciphers;

import org.jspecify.annotations.NullMarked;
