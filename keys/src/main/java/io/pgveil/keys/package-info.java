/**
 * The key hierarchy: principal keys held by key providers wrap internal keys held in the key
 * directory.
 *
 * <p>A {@link io.pgveil.keys.KeyDirectory} is the directory {@code pg_tde} of a cluster. Its files
 * are pg_tde's, byte for byte (the layouts are in {@code EntryLayout}, {@code SignedHeader}, {@code
 * ProviderRecord} and {@code WalKeys}), and one of ours, {@code pgveil.seal} ({@link
 * io.pgveil.keys.SealKeys}). Management operations are one class each ({@link
 * io.pgveil.keys.CreateKey}, {@link io.pgveil.keys.SetKey}, ...), the same for SQL and for the
 * command line. Key providers are found by {@link java.util.ServiceLoader}: {@link
 * io.pgveil.keys.KeyProviderFactory}.
 *
 * <h2>Locks</h2>
 *
 * In this order; a thread that holds one never waits for an earlier one:
 *
 * <ol>
 *   <li>{@code KeyDirectory.operations}: one management operation at a time; may be held while a
 *       provider is asked, so nothing that serves a file waits for it;
 *   <li>{@code KeyDirectory.headers}: which principal key each file names; held while a file is
 *       re-wrapped or takes the default key over, never while a provider is asked;
 *   <li>{@code KeyFile.writes}: writes of one file;
 *   <li>{@code KeyFile.state}: the content of one file in memory;
 *   <li>leaves: the principal-key cache, the provider files, {@code SecretMemory}.
 * </ol>
 *
 * A provider is asked under a lock of the one principal key that is wanted, and only those who want
 * that very key wait.
 *
 * <h2>Secrets</h2>
 *
 * Principal keys and seal keys live off the Java heap in locked memory that core dumps leave out.
 * Internal keys and what {@code javax.crypto} derives live on the heap: the process that uses this
 * module keeps the heap out of core dumps. No class here shows key bytes in {@code toString}, a
 * message or a log line.
 */
@NullMarked
package io.pgveil.keys;

import org.jspecify.annotations.NullMarked;
