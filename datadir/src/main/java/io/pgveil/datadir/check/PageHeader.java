package io.pgveil.datadir.check;

import org.jspecify.annotations.Nullable;

/**
 * The header of a clear relation page (storage/bufpage.h), 24 bytes: pd_lsn 0 (two words of 4
 * bytes, the high one first), pd_checksum 8 (2 bytes), pd_flags 10, pd_lower 12, pd_upper 14,
 * pd_special 16, pd_pagesize_version 18, pd_prune_xid 20 (4 bytes).
 */
record PageHeader(
    long lsn,
    int checksum,
    int flags,
    int lower,
    int upper,
    int special,
    int pageSize,
    int version,
    int pruneXid) {
  /** Bytes per page. */
  static final int PAGE = 8192;

  static final int CHECKSUM_AT = 8;
  private static final int SIZE = 24;
  private static final int KNOWN_FLAGS = 7;

  static PageHeader read(byte[] b, int at) {
    int sizeAndVersion = Bytes.getShort(b, at + 18);
    return new PageHeader(
        (long) Bytes.getInt(b, at) << 32 | Integer.toUnsignedLong(Bytes.getInt(b, at + 4)),
        Bytes.getShort(b, at + CHECKSUM_AT),
        Bytes.getShort(b, at + 10),
        Bytes.getShort(b, at + 12),
        Bytes.getShort(b, at + 14),
        Bytes.getShort(b, at + 16),
        sizeAndVersion & 0xff00,
        sizeAndVersion & 0xff,
        Bytes.getInt(b, at + 20));
  }

  /**
   * Why PostgreSQL would not accept the page at {@code at} (PageIsVerified), null if it would. The
   * page is not all zero.
   *
   * @param checksums whether pages of this cluster bear checksums
   */
  static @Nullable String problem(byte[] b, int at, int block, boolean checksums) {
    PageHeader h = read(b, at);
    if (h.upper == 0) {
      return "it has no content (pd_upper 0) and yet is not all zero";
    }
    if (checksums) {
      int computed = PageChecksum.of(b, at, block);
      if (computed != h.checksum) {
        return "its checksum is %04x, computed %04x".formatted(h.checksum, computed);
      }
    }
    if ((h.flags & ~KNOWN_FLAGS) != 0
        || h.lower < SIZE
        || h.lower > h.upper
        || h.upper > h.special
        || h.special > PAGE
        || h.special % 8 != 0
        || h.pageSize != PAGE) {
      return "its header is garbled (pd_flags %04x, pd_lower %d, pd_upper %d, pd_special %d, size %d)"
          .formatted(h.flags, h.lower, h.upper, h.special, h.pageSize);
    }
    return null;
  }
}
