@NullMarked
package io.pgveil.ciphers;

import org.jspecify.annotations.NullMarked;
