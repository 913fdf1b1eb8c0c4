/**
 * Checks and explains a cipher directory that no server uses: {@link
 * io.pgveil.datadir.check.Verifier} reads every file of it, {@link
 * io.pgveil.datadir.check.Inspector} says what one file is. Neither needs a mount, and neither
 * writes. No key ever is in what they return.
 */
@NullMarked
package io.pgveil.datadir.check;

import org.jspecify.annotations.NullMarked;
