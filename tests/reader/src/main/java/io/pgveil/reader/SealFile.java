package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * {@code pgveil.seal}: the wrapped seal keys (notes D).
 *
 * <pre>
 * header                          entry, 128 bytes              trailer
 * 0    4  magic 50 47 56 01       0   16  key id                0  16  IV
 * 4    4  number of entries       16   4  purpose: 1 seal       16 16  tag of AES-GCM of nothing,
 * 8  312  signed key info,        20   4  state: 1 active,              AAD = all bytes before
 *         database OID 1664               2 read-only                   the trailer
 *                                 24   8  time of creation
 *                                 32  16  IV of the wrapping
 *                                 48  16  tag of the wrapping
 *                                 64  32  wrapped key
 *                                 96  32  zero
 * </pre>
 *
 * A key is wrapped by AES-GCM under the server principal key, AAD = bytes 0..31 of the entry.
 *
 * @param body all bytes before the trailer
 */
public record SealFile(
    String file, SignedKeyInfo keyInfo, List<Entry> entries, Bytes body, Bytes iv, Bytes tag) {
  private static final int HEADER = 320;
  private static final int ENTRY = 128;
  private static final int TRAILER = 32;

  /** Whether new files use a seal key, by its number on disk less 1. */
  public enum State {
    ACTIVE,
    READ_ONLY
  }

  /**
   * One entry.
   *
   * @param created as stored
   */
  public record Entry(
      String file,
      long offset,
      Bytes keyId,
      int purpose,
      State state,
      long created,
      Bytes aad,
      Bytes entryIv,
      Bytes tag,
      Bytes wrappedKey) {

    /** The seal key, 32 bytes. The tag must fit, else a violation. */
    public Secret unwrap(Secret serverKey) {
      return new WrappedKey(file, offset, entryIv, aad, wrappedKey, 32, tag).unwrap(serverKey);
    }
  }

  public static SealFile read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  public static SealFile parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static SealFile parse(Source in) {
    in.requireSize(HEADER, "header of a seal key file");
    in.require(
        in.hex(0, 4).equals("50 47 56 01"),
        0,
        "magic of a seal key file, 50 47 56 01 (format 1)",
        in.hex(0, 4));
    long count = in.u32(4);
    long size = HEADER + ENTRY * count + TRAILER;
    in.require(in.size() == size, 4, "a size of " + size + " for " + count + " entries", in.size());
    SignedKeyInfo keyInfo = SignedKeyInfo.parse(in, 8, SignedKeyInfo.SERVER);
    List<Entry> entries = new ArrayList<>();
    Set<Bytes> ids = new HashSet<>();
    int active = 0;
    int at = HEADER;
    for (; at < HEADER + ENTRY * count; at += ENTRY) {
      Entry entry = entry(in, at);
      in.require(ids.add(entry.keyId), at, "a key id of its own", entry.keyId);
      active += entry.state == State.ACTIVE ? 1 : 0;
      entries.add(entry);
    }
    in.require(active == 1, HEADER, "exactly one active key", active);
    return new SealFile(
        in.file(),
        keyInfo,
        List.copyOf(entries),
        in.bytes(0, at),
        in.bytes(at, 16),
        in.bytes(at + 16, 16));
  }

  private static Entry entry(Source in, int at) {
    long purpose = in.u32(at + 16);
    in.require(purpose == 1, at + 16, "purpose 1 (seal)", purpose);
    long state = in.u32(at + 20);
    in.require(state == 1 || state == 2, at + 20, "state 1 or 2", state);
    in.requireZero(at + 96, at + ENTRY, "end of an entry");
    return new Entry(
        in.file(),
        at,
        in.bytes(at, 16),
        (int) purpose,
        State.values()[(int) state - 1],
        in.u64(at + 24),
        in.bytes(at, 32),
        in.bytes(at + 32, 16),
        in.bytes(at + 48, 16),
        in.bytes(at + 64, 32));
  }

  /** Whether the trailer fits: no entry was dropped, added or moved. */
  public boolean isWholeUnder(Secret serverKey) {
    return Aes.gcmOpen(serverKey, iv, body, new byte[0], tag).isPresent();
  }

  /** The seal keys by their ids, as {@link SealedFile} wants them. */
  public Map<Bytes, Secret> unwrapAll(Secret serverKey) {
    Map<Bytes, Secret> keys = new HashMap<>();
    for (Entry entry : entries) {
      keys.put(entry.keyId, entry.unwrap(serverKey));
    }
    return keys;
  }
}
