/**
 * The Linux FUSE kernel protocol (include/uapi/linux/fuse.h, version 7.31 and later), spoken
 * straight over {@code /dev/fuse}: mounting, sessions with several worker threads, requests,
 * replies. A general library: it knows nothing of PostgreSQL and of keys.
 *
 * <p>A file system implements {@link io.pgveil.fuse.FileSystem}; {@link io.pgveil.fuse.FuseSession}
 * mounts it and calls it.
 */
@NullMarked
package io.pgveil.fuse;

import org.jspecify.annotations.NullMarked;
