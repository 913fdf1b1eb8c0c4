package io.pgveil.datadir;

/** What a file is to the cipher layer; decided by its path alone ({@link Place}). */
public enum FileKind {
  /** Pages of a relation: pg_tde relation format, one internal key per relfilenode. */
  RELATION,
  /** Pages of a temporary relation: the same pages, the key in memory only. */
  TEMP_RELATION,
  /** WAL segment: pg_tde WAL stream, keys by WAL range. */
  WAL_SEGMENT,
  /** WAL file in the making: no header, key in memory; transcoded when it gets its real name. */
  WAL_TEMPORARY,
  /** Data that PostgreSQL throws away at its next start: sealed under a key of this daemon run. */
  SPILL,
  /** Everything else: sealed under a key derived from the active seal key. */
  SEALED,
  /** Key files below {@code pg_tde/}: shown as they are, read-only. */
  KEY_FILE;

  /** Whether the file has a sealed-file header, so that its size on disk is not its clear size. */
  boolean hasSealedLayout() {
    return this == SEALED || this == SPILL;
  }

  /** Whether reads and writes go past the kernel's page cache, exactly as PostgreSQL made them. */
  boolean isDirect() {
    return this == WAL_SEGMENT || this == WAL_TEMPORARY || this == KEY_FILE;
  }
}
