@NullMarked
package io.pgveil.reader;

import org.jspecify.annotations.NullMarked;
