package io.pgveil.reader;

/** Whose rules tell clear zeros from ciphertext: the two differ only there. */
public enum ReadAs {
  /**
   * pg_tde: a page is clear if its first 32 bytes are zero (spec 2.3); WAL of an encrypted range is
   * all ciphertext (spec 3.3).
   */
  PG_TDE,
  /**
   * pgveil: a page is clear if all its 8192 bytes are zero (notes C); in an encrypted WAL range an
   * aligned 8-byte word of zeros is clear (notes B2).
   */
  PGVEIL
}
