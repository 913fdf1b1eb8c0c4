/**
 * Page, WAL and sealed-file ciphers: pure functions over memory, no I/O.
 *
 * <table>
 *   <caption>Which class for which file</caption>
 *   <tr><th>file kind</th><th>classes</th><th>format</th></tr>
 *   <tr><td>relation page file</td><td>{@link io.pgveil.ciphers.PageCipher}</td>
 *       <td>pg_tde: AES-CBC per 8 KiB page</td></tr>
 *   <tr><td>WAL segment</td><td>{@link io.pgveil.ciphers.WalCipher},
 *       {@link io.pgveil.ciphers.WalPage}, {@link io.pgveil.ciphers.WalCodec}</td>
 *       <td>pg_tde: AES counter keystream per segment, zero tails kept raw</td></tr>
 *   <tr><td>sealed file</td><td>{@link io.pgveil.ciphers.SealedLayout},
 *       {@link io.pgveil.ciphers.SealedHeader}, {@link io.pgveil.ciphers.SealedKeys},
 *       {@link io.pgveil.ciphers.SealedCipher}</td>
 *       <td>ours: AES-256-XTS per 512-byte unit behind a 4096-byte header</td></tr>
 * </table>
 *
 * <p>Conventions of the whole package:
 *
 * <ul>
 *   <li>A cipher object is <em>not</em> thread-safe: one user at a time. After construction its
 *       methods allocate nothing; the scratch memory it owns (8 to 17 KiB) may hold clear bytes
 *       until {@code close()}.
 *   <li>Key arguments are copied; the caller clears its own array. {@code close()} erases the key
 *       schedule; a later call throws {@link IllegalStateException}.
 *   <li>Input and output may be the same array at the same offset. Other overlaps are undefined.
 *   <li>Ranges outside an array throw {@link IndexOutOfBoundsException}, other bad arguments {@link
 *       IllegalArgumentException}, both before anything is written.
 *   <li>None of these formats authenticates content: tampering is not detected here.
 * </ul>
 */
@NullMarked
package io.pgveil.ciphers;

import org.jspecify.annotations.NullMarked;
