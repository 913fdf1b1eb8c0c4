/** What key providers over a network share. */
@NullMarked
package io.pgveil.providers;

import org.jspecify.annotations.NullMarked;
