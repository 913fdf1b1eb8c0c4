/** Principal keys in a file: pg_tde's file keyring. */
@NullMarked
package io.pgveil.keys.file;

import org.jspecify.annotations.NullMarked;
