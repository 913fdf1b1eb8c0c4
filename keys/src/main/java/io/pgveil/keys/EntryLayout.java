package io.pgveil.keys;

/**
 * Where the fields of a wrapped-key entry lie (pg_tde format 1.4 and 1.5; {@code pgveil.seal}: see
 * {@link SealKeys}). Every file begins with a header of {@value #HEADER_SIZE} bytes: magic (4
 * bytes), 4 undefined bytes, {@link SignedHeader} (312 bytes); entry i is at {@code 320 + size *
 * i}.
 *
 * <p>Every entry is wrapped alike: AES-GCM under the principal key, IV of 16 bytes from the entry,
 * tag of 16 bytes, AAD = the first {@link #aadSize} bytes of the entry as they are on disk, unused
 * ones included.
 *
 * <pre>
 *               size  AAD   IV  tag  base IV  wrapped key  other fields
 * RELATION_4      96  0..15  16   32       48   64 (32)    cipher 0, tablespace 4, relation 8, type 12
 * RELATION_3      96  0..15  64   80       32   16 (16)    tablespace 0, relation 4, type 8
 * WAL_2          104  0..7   24   40       56   72 (32)    cipher 0, type 4, LSN 8, timeline 16
 * WAL_1           96  0..7   64   80       24    8 (16)    type 40, LSN 48, timeline 56
 * SEAL_1         128  0..31  32   48        -   64 (32)    id 0, purpose 16, state 20, created 24
 * </pre>
 */
enum EntryLayout {
  RELATION_4(0x04454454, 96, 16, 16, 32, 48, 64, 0),
  RELATION_3(0x03454454, 96, 16, 64, 80, 32, 16, -1),
  WAL_2(0x024B4557, 104, 8, 24, 40, 56, 72, 0),
  WAL_1(0x014B4557, 96, 8, 64, 80, 24, 8, -1),
  SEAL_1(0x01564750, 128, 32, 32, 48, -1, 64, -1);

  /** Length of a file header in bytes. */
  static final int HEADER_SIZE = 8 + SignedHeader.SIZE;

  /** The first four bytes of the file. */
  final int magic;

  /** Length of an entry in bytes. */
  final int size;

  final int aadSize;
  final int ivAt;
  final int tagAt;
  final int baseIvAt;
  final int wrappedAt;

  /** Offset of the cipher code, or -1 where the format knows one cipher only. */
  final int cipherAt;

  EntryLayout(
      int magic,
      int size,
      int aadSize,
      int ivAt,
      int tagAt,
      int baseIvAt,
      int wrappedAt,
      int cipherAt) {
    this.magic = magic;
    this.size = size;
    this.aadSize = aadSize;
    this.ivAt = ivAt;
    this.tagAt = tagAt;
    this.baseIvAt = baseIvAt;
    this.wrappedAt = wrappedAt;
    this.cipherAt = cipherAt;
  }

  /** Offset of entry {@code index} in the file. */
  int offset(int index) {
    return HEADER_SIZE + index * size;
  }

  /** The version in a magic number, as pg_tde reads it. */
  static int version(int magic) {
    return (magic & 0x0F000000) >> 24;
  }

  /** Whether two magic numbers are of the same kind of file. */
  static boolean isSameKind(int a, int b) {
    return (a & 0x00FFFFFF) == (b & 0x00FFFFFF);
  }
}
