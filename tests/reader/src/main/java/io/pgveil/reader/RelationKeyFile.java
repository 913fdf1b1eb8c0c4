package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * {@code <dbOid>_keys}, versions 4 and 3 (spec 1.4): header of 320 bytes, then entries of 96.
 *
 * <pre>
 * header             entry, version 4                  entry, version 3
 * 0    4  magic      0   4  cipher: 0 AES-128,         0   4  tablespace OID
 * 4    4  padding           1 AES-256                  4   4  relfilenumber
 * 8  312  signed     4   4  tablespace OID             8   4  type
 *         key info   8   4  relfilenumber              12  4  unused, but authenticated
 *                    12  4  type: 0 empty, 1 key       16 16  wrapped AES-128 key
 *                    16 16  IV of the wrapping         32 16  base IV
 *                    32 16  tag of the wrapping        48 16  unused
 *                    48 16  base IV of the pages       64 16  IV of the wrapping
 *                    64 32  wrapped key (16 or 32)     80 16  tag of the wrapping
 * </pre>
 *
 * The default key's file, {@code 1663_keys}, is a header only. A key is wrapped by AES-GCM under
 * the principal key, AAD = bytes 0..15 of the entry.
 *
 * @param version 4 or 3; 0 for an empty file, which means no principal key and no entries
 * @param padding undefined bytes of the header; empty in an empty file
 * @param keyInfo null in an empty file only
 * @param trailing bytes of an incomplete last entry, which pg_tde takes for the end of the file
 */
public record RelationKeyFile(
    String file,
    int version,
    long databaseId,
    Bytes padding,
    @Nullable SignedKeyInfo keyInfo,
    List<Entry> entries,
    int trailing) {
  private static final int HEADER = 320;
  private static final int ENTRY = 96;
  private static final long DEFAULT_KEY = 1663;

  /**
   * One entry.
   *
   * @param index position in the file, from 0
   * @param cipher 0 AES-128, 1 AES-256; 0 in version 3, which has no other
   * @param type 0 empty (then every field is zero), 1 key
   * @param baseIv not authenticated
   * @param wrappedKey 32 bytes in version 4, of which AES-128 uses 16 and leaves 16 undefined; 16
   *     bytes in version 3
   * @param unused version 3: bytes 48..63; version 4: empty
   */
  public record Entry(
      String file,
      int index,
      int cipher,
      long tablespace,
      long relation,
      int type,
      Bytes aad,
      Bytes entryIv,
      Bytes tag,
      Bytes baseIv,
      Bytes wrappedKey,
      Bytes unused) {

    public boolean isKey() {
      return type == 1;
    }

    /** Size of the internal key. */
    public int keySize() {
      return cipher == 0 ? 16 : 32;
    }

    /** The internal key. The tag must fit, else a violation. */
    public Secret unwrap(Secret principalKey) {
      if (!isKey()) {
        throw new IllegalStateException("entry " + index + " of " + file + " is empty");
      }
      long offset = HEADER + (long) ENTRY * index;
      return new WrappedKey(file, offset, entryIv, aad, wrappedKey, keySize(), tag)
          .unwrap(principalKey);
    }
  }

  public static RelationKeyFile read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  /** The part of {@code file} behind the last slash must be {@code <dbOid>_keys}. */
  public static RelationKeyFile parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static RelationKeyFile parse(Source in) {
    long databaseId = KeyFileName.oid(in, "_keys");
    if (in.size() == 0) {
      return new RelationKeyFile(
          in.file(), 0, databaseId, Bytes.of(new byte[0]), null, List.of(), 0);
    }
    in.requireSize(HEADER, "header of a relation key file");
    int version =
        switch (in.hex(0, 4)) {
          case "54 44 45 04" -> 4;
          case "54 44 45 03" -> 3;
          default ->
              throw in.violation(
                  0,
                  "magic of a relation key file, 54 44 45 04 (version 4) or 54 44 45 03 (version 3)",
                  in.hex(0, 4));
        };
    SignedKeyInfo keyInfo = SignedKeyInfo.parse(in, 8, databaseId);
    List<Entry> entries = new ArrayList<>();
    int at = HEADER;
    for (; at + ENTRY <= in.size(); at += ENTRY) {
      int index = entries.size();
      entries.add(version == 4 ? version4(in, at, index) : version3(in, at, index));
    }
    in.require(
        databaseId != DEFAULT_KEY || entries.isEmpty(),
        HEADER,
        "no entries under the default key",
        entries.size());
    return new RelationKeyFile(
        in.file(),
        version,
        databaseId,
        in.bytes(4, 4),
        keyInfo,
        List.copyOf(entries),
        in.size() - at);
  }

  private static Entry version4(Source in, int at, int index) {
    long cipher = in.u32(at);
    in.require(cipher <= 1, at, "cipher 0 or 1", cipher);
    return new Entry(
        in.file(),
        index,
        (int) cipher,
        in.u32(at + 4),
        in.u32(at + 8),
        type(in, at, at + 12),
        in.bytes(at, 16),
        in.bytes(at + 16, 16),
        in.bytes(at + 32, 16),
        in.bytes(at + 48, 16),
        in.bytes(at + 64, 32),
        Bytes.of(new byte[0]));
  }

  private static Entry version3(Source in, int at, int index) {
    return new Entry(
        in.file(),
        index,
        0,
        in.u32(at),
        in.u32(at + 4),
        type(in, at, at + 8),
        in.bytes(at, 16),
        in.bytes(at + 64, 16),
        in.bytes(at + 80, 16),
        in.bytes(at + 32, 16),
        in.bytes(at + 16, 16),
        in.bytes(at + 48, 16));
  }

  private static int type(Source in, int entry, int at) {
    long type = in.u32(at);
    in.require(type <= 1, at, "entry type 0 or 1", type);
    if (type == 0) {
      in.requireZero(entry, entry + ENTRY, "empty entry");
    }
    return (int) type;
  }

  /** The entries that hold a key, in file order. */
  public List<Entry> keys() {
    return entries.stream().filter(Entry::isKey).toList();
  }

  /** The entry of a relation: its key serves all its forks and segments. */
  public Optional<Entry> find(long tablespace, long relation) {
    return keys().stream()
        .filter(e -> e.tablespace == tablespace && e.relation == relation)
        .findFirst();
  }
}
