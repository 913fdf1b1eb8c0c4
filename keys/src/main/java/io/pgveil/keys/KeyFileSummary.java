package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a key file says of itself: every field of header and entries but the wrapped keys. For tools
 * that look at files: no principal key is needed, and nothing here was authenticated.
 *
 * @param version of the format
 * @param trailingBytes bytes behind the last whole entry: an append that a crash cut off
 */
public record KeyFileSummary(
    Type type, int version, Header header, List<Entry> entries, int trailingBytes) {
  /** Length of the header of a key file in bytes. */
  public static final int HEADER_SIZE = EntryLayout.HEADER_SIZE;

  /** Which of the three kinds of key file. */
  public enum Type {
    RELATION,
    WAL,
    SEAL
  }

  /**
   * The signed principal-key info.
   *
   * @param databaseOid 1663 default key, 1664 server, 0 shared relations
   * @param providerId negative for a global provider
   * @param created when the key was set here
   */
  public record Header(int databaseOid, int providerId, String keyName, Instant created) {}

  /** One entry, at {@code index} in file order. */
  public sealed interface Entry {
    int index();
  }

  /**
   * Of {@code <oid>_keys}.
   *
   * @param type 0 a free entry, 1 a key
   * @param baseIv 16 bytes in hexadecimal; random for each key and no secret, so it tells one key
   *     from another
   */
  public record RelationEntry(
      int index, int type, int cipher, int tablespaceOid, int relNumber, String baseIv)
      implements Entry {
    public boolean isFree() {
      return type == 0;
    }
  }

  /** Of {@code wal_keys}; {@code type} 0 is not valid, 1 clear, 2 encrypted. */
  public record WalEntry(int index, int type, int cipher, int tli, long startLsn) implements Entry {
    /** Whether readers of WAL take it for a range. */
    public boolean isRange() {
      return type != 0 && tli != 0 && startLsn != 0;
    }
  }

  /**
   * Of {@code pgveil.seal}.
   *
   * @param id hexadecimal
   */
  public record SealEntry(int index, String id, boolean active, Instant created) implements Entry {}

  public KeyFileSummary {
    entries = List.copyOf(entries);
  }

  /**
   * Reads the content of a key file.
   *
   * @param name for messages
   * @throws KeyException if it is none, is cut off in its header, or is of an unknown version
   */
  public static KeyFileSummary parse(String name, byte[] content) throws KeyException {
    if (content.length < EntryLayout.HEADER_SIZE) {
      throw corrupted(name, "its header is cut off at " + content.length + " bytes");
    }
    int magic = Bytes.getInt(content, 0);
    EntryLayout layout =
        Arrays.stream(EntryLayout.values()).filter(l -> l.magic == magic).findFirst().orElse(null);
    if (layout == null) {
      for (EntryLayout l : EntryLayout.values()) {
        if (EntryLayout.isSameKind(l.magic, magic)) {
          throw new KeyException(
              Kind.UNKNOWN_VERSION,
              "key file \"" + name + "\" has wrong version",
              "it is of version " + EntryLayout.version(magic));
        }
      }
      throw corrupted(name, "its first bytes are not those of a key file");
    }
    SignedHeader header = SignedHeader.read(content, 8);
    if (header == null) {
      throw corrupted(name, "its header holds no key name");
    }
    int trailer = layout == EntryLayout.SEAL_1 ? KeyWrap.IV_SIZE + KeyWrap.TAG_SIZE : 0;
    int body = Math.max(0, content.length - EntryLayout.HEADER_SIZE - trailer);
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < body / layout.size; i++) {
      entries.add(entry(layout, content, i));
    }
    return new KeyFileSummary(
        typeOf(layout),
        EntryLayout.version(magic),
        new Header(
            header.databaseId(), header.providerId(), header.name().toString(), header.created()),
        entries,
        body % layout.size);
  }

  private static KeyException corrupted(String name, String why) {
    return new KeyException(
        Kind.CORRUPTED,
        "key file \"" + name + "\" is corrupted",
        why + "; restore it from a backup");
  }

  private static Type typeOf(EntryLayout layout) {
    return switch (layout) {
      case RELATION_4, RELATION_3 -> Type.RELATION;
      case WAL_2, WAL_1 -> Type.WAL;
      case SEAL_1 -> Type.SEAL;
    };
  }

  private static Entry entry(EntryLayout layout, byte[] b, int index) {
    int at = layout.offset(index);
    int aes128 = CipherType.AES_128.code();
    return switch (layout) {
      case RELATION_4 ->
          new RelationEntry(
              index,
              Bytes.getInt(b, at + 12),
              Bytes.getInt(b, at),
              Bytes.getInt(b, at + 4),
              Bytes.getInt(b, at + 8),
              hex(b, at + 48));
      case RELATION_3 ->
          new RelationEntry(
              index,
              Bytes.getInt(b, at + 8),
              aes128,
              Bytes.getInt(b, at),
              Bytes.getInt(b, at + 4),
              hex(b, at + 32));
      case WAL_2 ->
          new WalEntry(
              index,
              Bytes.getInt(b, at + 4),
              Bytes.getInt(b, at),
              Bytes.getInt(b, at + 16),
              Bytes.getLong(b, at + 8));
      case WAL_1 ->
          new WalEntry(
              index,
              Bytes.getInt(b, at + 40),
              aes128,
              Bytes.getInt(b, at + 56),
              Bytes.getLong(b, at + 48));
      case SEAL_1 ->
          new SealEntry(
              index,
              HexFormat.of().formatHex(b, at, at + SealKeys.ID_SIZE),
              Bytes.getInt(b, at + 20) == 1,
              time(Bytes.getLong(b, at + 24)));
    };
  }

  private static Instant time(long seconds) {
    return seconds < 0 || seconds > Instant.MAX.getEpochSecond()
        ? Instant.EPOCH
        : Instant.ofEpochSecond(seconds);
  }

  /** The name of a cipher number; null if there is none. */
  public static @Nullable CipherType cipher(int code) {
    return CipherType.find(code);
  }

  private static String hex(byte[] b, int at) {
    return HexFormat.of().formatHex(b, at, at + InternalKey.BASE_IV_SIZE);
  }
}
