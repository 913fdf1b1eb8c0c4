/** The commands of pgveil. */
@NullMarked
package io.pgveil.app;

import org.jspecify.annotations.NullMarked;
