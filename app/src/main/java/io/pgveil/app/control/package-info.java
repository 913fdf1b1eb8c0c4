/**
 * How commands reach the cluster, stopped or mounted: requests as values, one executor, a socket
 * between.
 */
@NullMarked
package io.pgveil.app.control;

import org.jspecify.annotations.NullMarked;
