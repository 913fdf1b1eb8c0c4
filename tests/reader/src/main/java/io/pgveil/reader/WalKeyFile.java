package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code wal_keys}, versions 2 and 1 (spec 1.5): header of 320 bytes, then entries of 104 (version
 * 1: 96) in chronological order.
 *
 * <pre>
 * header             entry, version 2                  entry, version 1
 * 0    4  magic      0   4  cipher: 0 AES-128,         0   8  unused, but authenticated
 * 4    4  padding           1 AES-256                  8  16  wrapped AES-128 key
 * 8  312  signed     4   4  type of the range          24 16  base IV
 *         key info   8  16  start (WalLocation)        40  4  type of the range
 *                    24 16  IV of the wrapping         44  4  unused
 *                    40 16  tag of the wrapping        48 16  start (WalLocation)
 *                    56 16  base IV                    64 16  IV of the wrapping
 *                    72 32  wrapped key (16 or 32),    80 16  tag of the wrapping
 *                           zero-filled
 * </pre>
 *
 * A key is wrapped by AES-GCM under the server principal key, AAD = bytes 0..7 of the entry.
 *
 * @param version 2 or 1; 0 for an empty file, which means no server key and no ranges
 * @param padding undefined bytes of the header; empty in an empty file
 * @param keyInfo null in an empty file only
 * @param trailing bytes of an incomplete last entry
 */
public record WalKeyFile(
    String file,
    int version,
    Bytes padding,
    @Nullable SignedKeyInfo keyInfo,
    List<Entry> entries,
    int trailing) {
  private static final int HEADER = 320;

  /** What a range does to its WAL, by its number on disk. */
  public enum RangeType {
    /** To be skipped: its start was overtaken by the next range's. Its tag is stale. */
    INVALID,
    /** Clear WAL; the entry's key is never used. */
    UNENCRYPTED,
    ENCRYPTED
  }

  /**
   * One entry.
   *
   * @param index position in the file, from 0
   * @param offset of the entry in the file
   * @param cipher 0 AES-128, 1 AES-256; 0 in version 1, which has no other
   * @param start not set (zeros) before the first write of the range; not authenticated
   * @param baseIv not authenticated
   * @param wrappedKey 32 bytes, in version 1 16
   */
  public record Entry(
      String file,
      int index,
      long offset,
      int cipher,
      RangeType type,
      WalLocation start,
      Bytes aad,
      Bytes entryIv,
      Bytes tag,
      Bytes baseIv,
      Bytes wrappedKey) {

    /** Size of the WAL key. */
    public int keySize() {
      return cipher == 0 ? 16 : 32;
    }

    /** Whether readers load the entry: it is not INVALID and its start is set. */
    public boolean isLoaded() {
      return type != RangeType.INVALID && start.isValid();
    }

    /** The WAL key. The tag must fit, else a violation; of INVALID entries it need not. */
    public Secret unwrap(Secret serverKey) {
      return new WrappedKey(file, offset, entryIv, aad, wrappedKey, keySize(), tag)
          .unwrap(serverKey);
    }
  }

  public static WalKeyFile read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  public static WalKeyFile parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static WalKeyFile parse(Source in) {
    if (in.size() == 0) {
      return new WalKeyFile(in.file(), 0, Bytes.of(new byte[0]), null, List.of(), 0);
    }
    in.requireSize(HEADER, "header of a WAL key file");
    int version =
        switch (in.hex(0, 4)) {
          case "57 45 4b 02" -> 2;
          case "57 45 4b 01" -> 1;
          default ->
              throw in.violation(
                  0,
                  "magic of a WAL key file, 57 45 4b 02 (version 2) or 57 45 4b 01 (version 1)",
                  in.hex(0, 4));
        };
    SignedKeyInfo keyInfo = SignedKeyInfo.parse(in, 8, SignedKeyInfo.SERVER);
    List<Entry> entries = new ArrayList<>();
    int size = version == 2 ? 104 : 96;
    int at = HEADER;
    for (; at + size <= in.size(); at += size) {
      int index = entries.size();
      entries.add(version == 2 ? version2(in, at, index) : version1(in, at, index));
    }
    requireOrder(in, entries);
    return new WalKeyFile(
        in.file(), version, in.bytes(4, 4), keyInfo, List.copyOf(entries), in.size() - at);
  }

  private static Entry version2(Source in, int at, int index) {
    long cipher = in.u32(at);
    in.require(cipher <= 1, at, "cipher 0 or 1", cipher);
    Entry entry =
        new Entry(
            in.file(),
            index,
            at,
            (int) cipher,
            type(in, at + 4),
            WalLocation.parse(in, at + 8),
            in.bytes(at, 8),
            in.bytes(at + 24, 16),
            in.bytes(at + 40, 16),
            in.bytes(at + 56, 16),
            in.bytes(at + 72, 32));
    in.requireZero(at + 72 + entry.keySize(), at + 104, "behind the wrapped key");
    return entry;
  }

  private static Entry version1(Source in, int at, int index) {
    return new Entry(
        in.file(),
        index,
        at,
        0,
        type(in, at + 40),
        WalLocation.parse(in, at + 48),
        in.bytes(at, 8),
        in.bytes(at + 64, 16),
        in.bytes(at + 80, 16),
        in.bytes(at + 24, 16),
        in.bytes(at + 8, 16));
  }

  private static RangeType type(Source in, int at) {
    long type = in.u32(at);
    in.require(type < RangeType.values().length, at, "range type 0, 1 or 2", type);
    return RangeType.values()[(int) type];
  }

  /** Equal starts are allowed: the later range then holds all of it. */
  private static void requireOrder(Source in, List<Entry> entries) {
    WalLocation previous = new WalLocation(0, 0);
    for (Entry entry : entries) {
      if (entry.isLoaded()) {
        in.require(
            entry.start.compareTo(previous) >= 0,
            entry.offset,
            "a range that does not start before " + previous,
            entry.start);
        previous = entry.start;
      }
    }
  }

  /** The ranges in force (spec 3.3), unwrapped: each ends where the next one starts. */
  public List<WalRange> ranges(Secret serverKey) {
    List<Entry> loaded = entries.stream().filter(Entry::isLoaded).toList();
    List<WalRange> ranges = new ArrayList<>();
    for (int i = 0; i < loaded.size(); i++) {
      Entry entry = loaded.get(i);
      WalLocation end = i + 1 < loaded.size() ? loaded.get(i + 1).start : WalLocation.END;
      ranges.add(
          new WalRange(
              entry.start,
              end,
              entry.type == RangeType.ENCRYPTED,
              entry.unwrap(serverKey),
              entry.baseIv));
    }
    return List.copyOf(ranges);
  }
}
