/** The PostgreSQL server that pgveil starts: its binaries, its user and its life. */
@NullMarked
package io.pgveil.app.postgres;

import org.jspecify.annotations.NullMarked;
