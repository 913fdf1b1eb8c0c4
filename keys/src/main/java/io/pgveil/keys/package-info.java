@NullMarked
package io.pgveil.keys;

import org.jspecify.annotations.NullMarked;
