/**
 * A second, independent reader of every file format of pg_tde and pgveil, written from the format
 * specification alone ("spec" below: pg_tde's formats; "notes": pgveil's own additions) and sharing
 * no code with pgveil. It serves tests: simple and literal before fast, and every field is
 * reported.
 *
 * <p>Integers are little-endian and sizes are in bytes. A file that is not as specified is answered
 * with a {@link io.pgveil.reader.FormatViolation}, never with a guess.
 *
 * <p>This package is no part of the product. It keeps keys out of messages ({@link
 * io.pgveil.reader.Secret}) but does not erase them from memory.
 */
@NullMarked
package io.pgveil.reader;

import org.jspecify.annotations.NullMarked;
