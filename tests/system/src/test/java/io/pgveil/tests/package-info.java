@NullMarked
package io.pgveil.tests;

import org.jspecify.annotations.NullMarked;
