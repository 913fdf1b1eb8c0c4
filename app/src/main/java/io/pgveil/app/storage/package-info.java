/** The seam between the commands and the modules below. */
@NullMarked
package io.pgveil.app.storage;

import org.jspecify.annotations.NullMarked;
