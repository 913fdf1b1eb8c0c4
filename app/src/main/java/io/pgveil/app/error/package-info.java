/** How a command fails: one exit code with meaning and remedy, one block of text. */
@NullMarked
package io.pgveil.app.error;

import org.jspecify.annotations.NullMarked;
