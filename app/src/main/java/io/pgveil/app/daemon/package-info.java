/**
 * What makes a process a good daemon: hardening, log, notification, and the lock on its cipher
 * directory.
 */
@NullMarked
package io.pgveil.app.daemon;

import org.jspecify.annotations.NullMarked;
