/**
 * Linux system calls over {@code java.lang.foreign}.
 *
 * <p>Conventions of the whole package:
 *
 * <ul>
 *   <li>A call returns a value {@code >= 0} on success and {@code -errno} on failure, as the kernel
 *       does; nothing is thrown on the hot path. {@link io.pgveil.linux.LinuxException#check} turns
 *       a negative value into an exception where one is wanted.
 *   <li>A path is a <em>byte string</em>: a Java {@code String} with one char (0..255) per byte, so
 *       that names that are not UTF-8 survive. {@link io.pgveil.linux.ByteString} converts.
 *   <li>Memory is passed as raw addresses ({@code long}); {@link io.pgveil.linux.Memory} reads and
 *       writes it. The caller owns the memory and its bounds.
 * </ul>
 */
@NullMarked
package io.pgveil.linux;

import org.jspecify.annotations.NullMarked;
