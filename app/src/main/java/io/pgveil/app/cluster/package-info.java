/** The cipher directory as the commands see it: what it is, who works on it, where its files go. */
@NullMarked
package io.pgveil.app.cluster;

import org.jspecify.annotations.NullMarked;
