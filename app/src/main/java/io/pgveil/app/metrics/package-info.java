/** What the daemon tells a monitoring system. */
@NullMarked
package io.pgveil.app.metrics;

import org.jspecify.annotations.NullMarked;
