/** What makes a process a good daemon: hardening, log, notification, end. */
@NullMarked
package io.pgveil.app.daemon;

import org.jspecify.annotations.NullMarked;
