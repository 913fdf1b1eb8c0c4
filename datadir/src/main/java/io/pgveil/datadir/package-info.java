@NullMarked
package io.pgveil.datadir;

import org.jspecify.annotations.NullMarked;
