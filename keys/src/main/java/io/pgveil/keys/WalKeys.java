package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The keys of WAL ranges: {@code wal_keys} (pg_tde format 1.5), wrapped by the server's principal
 * key, which its header names.
 *
 * <p>Entries are only appended. One whose start is at or behind the start of a later one becomes
 * INVALID: every byte it could cover belongs to the later range. So if all WAL of a run was lost
 * and the next begins at the same place, the later range wins and the older, empty one is skipped
 * by pg_tde and by us alike. INVALID entries no longer authenticate (their type is in the AAD), so
 * they are never unwrapped; a rotation carries them over as they are.
 */
public final class WalKeys extends KeyFile {
  private static final int INVALID = 0;
  private static final int TYPE_AT = 4;
  private static final int LSN_AT = 8;
  private static final int TLI_AT = 16;
  private static final int LOCATION_SIZE = 16;
  private static final int SECTOR = 512;

  /** The file; guarded by the state lock. */
  private byte[] image = new byte[0];

  private EntryLayout layout = EntryLayout.WAL_2;

  /** Unwrapped keys by entry index; guarded by the state lock. */
  private final List<@Nullable InternalKey> keys = new ArrayList<>();

  private volatile @Nullable List<WalRange> ranges;

  WalKeys(KeyDirectory directory) {
    super(directory, "wal_keys", Scope.SERVER);
  }

  @Override
  KeyFile fallback() {
    return directory.defaultKey();
  }

  @Override
  @Nullable SignedHeader parse(byte @Nullable [] content) throws KeyException {
    if (content == null || content.length == 0) {
      ranges = List.of();
      return null;
    }
    if (content.length < EntryLayout.HEADER_SIZE) {
      throw corrupted("its header is cut off at " + content.length + " bytes");
    }
    int magic = Bytes.getInt(content, 0);
    if (magic != EntryLayout.WAL_2.magic && magic != EntryLayout.WAL_1.magic) {
      throw EntryLayout.isSameKind(magic, EntryLayout.WAL_2.magic)
          ? new KeyException(
              Kind.UNKNOWN_VERSION,
              "WAL key file \"" + directory.path(fileName) + "\" is corrupted or has wrong version",
              "it is of version " + EntryLayout.version(magic) + ", 1 and 2 can be read")
          : corrupted("its first bytes are not \"WEK\"");
    }
    SignedHeader header = readHeader(content);
    layout = magic == EntryLayout.WAL_2.magic ? EntryLayout.WAL_2 : EntryLayout.WAL_1;
    // half an entry at the end is an append that a crash cut off; it is overwritten
    int count = (content.length - EntryLayout.HEADER_SIZE) / layout.size;
    image = Arrays.copyOf(content, layout.offset(count));
    for (int i = 0; i < count; i++) {
      keys.add(null);
    }
    ranges = locate();
    return header;
  }

  /** The entries that are valid and have a place. */
  private List<WalRange> locate() throws KeyException {
    boolean current = layout == EntryLayout.WAL_2;
    List<WalRange> found = new ArrayList<>();
    for (int i = 0; i < entryCount(); i++) {
      int at = layout.offset(i);
      int type = Bytes.getInt(image, at + (current ? TYPE_AT : 40));
      CipherType cipher = current ? CipherType.find(Bytes.getInt(image, at)) : CipherType.AES_128;
      if (type < 0 || type > 2 || cipher == null) {
        throw corrupted("entry " + i + " is garbled");
      }
      long lsn = Bytes.getLong(image, at + (current ? LSN_AT : 48));
      int tli = Bytes.getInt(image, at + (current ? TLI_AT : 56));
      if (type != INVALID && lsn != 0 && tli != 0) {
        WalRange.Type t = type == 2 ? WalRange.Type.ENCRYPTED : WalRange.Type.UNENCRYPTED;
        found.add(new WalRange(i, t, cipher, tli, lsn));
      }
    }
    return List.copyOf(found);
  }

  /** Entries in the file, those that are not valid too. Called under the state lock. */
  private int entryCount() {
    return image.length == 0 ? 0 : (image.length - EntryLayout.HEADER_SIZE) / layout.size;
  }

  /** Entries in the file, those that are not valid too. */
  int entries() throws KeyException {
    load();
    state.lock();
    try {
      return entryCount();
    } finally {
      state.unlock();
    }
  }

  /** The ranges in file order. Immutable, and cheap to get. */
  public List<WalRange> ranges() throws KeyException {
    List<WalRange> now = ranges;
    if (now == null) {
      load();
      now = ranges;
    }
    return now == null ? List.of() : now;
  }

  /** The number of ranges; 0 if the file cannot be read ({@link #ranges} tells why). */
  public int count() {
    try {
      return ranges().size();
    } catch (KeyException e) {
      return 0;
    }
  }

  /**
   * The key of a range; the same object every time.
   *
   * @throws KeyException if the principal key cannot be had, or the entry is not of it
   */
  public InternalKey key(WalRange range) throws KeyException {
    while (true) {
      principal();
      state.lock();
      try {
        InternalKey key = keys.get(range.index());
        if (key != null) {
          return key;
        }
        PrincipalKey principal = loadedPrincipal();
        if (principal == null) {
          continue;
        }
        int at = layout.offset(range.index());
        byte[] bytes;
        try (KeyWrap wrap = new KeyWrap(principal, directory.random())) {
          bytes = wrap.unwrap(layout, image, at, range.cipher().keySize());
        }
        if (bytes == null) {
          throw undecryptable("entry " + range.index());
        }
        int baseIv = at + layout.baseIvAt;
        key =
            new InternalKey(
                range.cipher(),
                bytes,
                Arrays.copyOfRange(image, baseIv, baseIv + InternalKey.BASE_IV_SIZE));
        keys.set(range.index(), key);
        return key;
      } finally {
        state.unlock();
      }
    }
  }

  /**
   * Begins a range with a new key; durable when this returns.
   *
   * <p>One fsync. Two where the entry lies across a sector border: first the entry without a place,
   * which readers skip, then the place, so that a torn entry is never taken for a range.
   *
   * @param tli timeline, not 0
   * @param startLsn first byte of the range, not 0
   */
  public WalRange append(WalRange.Type type, CipherType cipher, int tli, long startLsn)
      throws KeyException {
    if (tli == 0 || startLsn == 0) {
      throw new IllegalArgumentException("a WAL range starts at timeline and LSN other than 0");
    }
    directory.requireWritable();
    InternalKey key = InternalKey.random(cipher, directory.random());
    while (true) {
      principalOrFallback();
      writes.lock();
      state.lock();
      try {
        PrincipalKey principal = loadedPrincipal();
        if (principal == null) {
          continue;
        }
        checkUsable();
        return append(new WalRange(entryCount(), type, cipher, tli, startLsn), key, principal);
      } finally {
        state.unlock();
        writes.unlock();
      }
    }
  }

  private WalRange append(WalRange range, InternalKey key, PrincipalKey principal)
      throws KeyException {
    int end = image.length == 0 ? EntryLayout.HEADER_SIZE : image.length;
    byte[] entry = new byte[layout.size];
    Bytes.putInt(entry, 0, range.cipher().code());
    Bytes.putInt(entry, TYPE_AT, range.type().code());
    System.arraycopy(key.copyBaseIv(), 0, entry, layout.baseIvAt, InternalKey.BASE_IV_SIZE);
    byte[] bytes = key.copyKey();
    try (KeyWrap wrap = new KeyWrap(principal, directory.random())) {
      wrap.wrap(layout, entry, 0, bytes);
    } finally {
      Arrays.fill(bytes, (byte) 0);
    }
    byte[] next = Arrays.copyOf(image, end + layout.size);
    List<DurableFiles.Patch> patches = new ArrayList<>();
    List<WalRange> remaining = new ArrayList<>();
    for (WalRange old : ranges()) {
      if (old.compareStart(range.tli(), range.startLsn()) < 0) {
        remaining.add(old);
      } else {
        int at = layout.offset(old.index()) + TYPE_AT;
        Bytes.putInt(next, at, INVALID);
        patches.add(new DurableFiles.Patch(at, new byte[4]));
      }
    }
    try {
      if (end / SECTOR == (end + layout.size - 1) / SECTOR) {
        place(entry, 0, range);
        // the one that needs room first: where there is none, nothing has changed
        patches.addFirst(new DurableFiles.Patch(end, entry));
      } else {
        directory.files().update(fileName, List.of(new DurableFiles.Patch(end, entry.clone())));
        place(entry, 0, range);
        patches.add(
            new DurableFiles.Patch(
                end + LSN_AT, Arrays.copyOfRange(entry, LSN_AT, LSN_AT + LOCATION_SIZE)));
      }
      directory.files().update(fileName, patches);
    } catch (KeyException e) {
      if (e.kind() == Kind.SYNC_FAILED) {
        fail(e);
      }
      throw e;
    }
    System.arraycopy(entry, 0, next, end, layout.size);
    image = next;
    keys.add(key);
    remaining.add(range);
    ranges = List.copyOf(remaining);
    return range;
  }

  private static void place(byte[] entry, int at, WalRange range) {
    Bytes.putLong(entry, at + LSN_AT, range.startLsn());
    Bytes.putInt(entry, at + TLI_AT, range.tli());
  }

  @Override
  Rewrapped rewrap(SignedHeader fresh, @Nullable KeyWrap from, KeyWrap to) throws KeyException {
    EntryLayout target = EntryLayout.WAL_2;
    int count = entryCount();
    byte[] content = new byte[target.offset(count)];
    Bytes.putInt(content, 0, target.magic);
    fresh.write(content, 8);
    for (int i = 0; i < count; i++) {
      int old = layout.offset(i);
      int at = target.offset(i);
      boolean migrates = layout == EntryLayout.WAL_1;
      int type = Bytes.getInt(image, old + (migrates ? 40 : TYPE_AT));
      if (type == INVALID) {
        if (!migrates) {
          System.arraycopy(image, old, content, at, target.size);
        }
        continue;
      }
      CipherType cipher =
          migrates ? CipherType.AES_128 : CipherType.ofCode(Bytes.getInt(image, old));
      Bytes.putInt(content, at, cipher.code());
      Bytes.putInt(content, at + TYPE_AT, type);
      Bytes.putLong(content, at + LSN_AT, Bytes.getLong(image, old + (migrates ? 48 : LSN_AT)));
      Bytes.putInt(content, at + TLI_AT, Bytes.getInt(image, old + (migrates ? 56 : TLI_AT)));
      System.arraycopy(
          image, old + layout.baseIvAt, content, at + target.baseIvAt, InternalKey.BASE_IV_SIZE);
      byte[] key = from == null ? null : from.unwrap(layout, image, old, cipher.keySize());
      if (key == null) {
        throw undecryptable("entry " + i);
      }
      to.wrap(target, content, at, key);
      Arrays.fill(key, (byte) 0);
    }
    return new Rewrapped(
        content,
        () -> {
          image = content;
          layout = target;
        });
  }

  @Override
  boolean isEmpty() throws KeyException {
    return entries() == 0;
  }

  @Override
  void forgetEntries() {
    image = new byte[0];
    layout = EntryLayout.WAL_2;
    keys.clear();
    ranges = null;
  }
}
