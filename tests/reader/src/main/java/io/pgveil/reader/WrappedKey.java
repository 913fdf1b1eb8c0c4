package io.pgveil.reader;

import java.util.Arrays;

/**
 * A key wrapped by AES-GCM, with all that its unwrapping needs.
 *
 * @param file the file it stands in, and
 * @param offset its entry's offset there, for violations
 * @param size bytes of the key; the rest of {@code field} is unused
 */
record WrappedKey(String file, long offset, Bytes iv, Bytes aad, Bytes field, int size, Bytes tag) {

  Secret unwrap(Secret wrappingKey) {
    byte[] ciphertext = Arrays.copyOf(field.toArray(), size);
    return Secret.of(
        Aes.gcmOpen(wrappingKey, iv, aad, ciphertext, tag)
            .orElseThrow(
                () ->
                    new FormatViolation(
                        file,
                        offset,
                        "an entry whose GCM tag fits the given wrapping key",
                        "another tag: wrong key or changed entry")));
  }
}
