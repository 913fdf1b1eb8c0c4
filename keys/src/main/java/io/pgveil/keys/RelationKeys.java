package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The internal keys of one database's relations: {@code <oid>_keys} (pg_tde format 1.4).
 *
 * <p>A key exists at once for {@link #find}, and on disk after {@link #sync}: no cipher byte of a
 * relation may reach its file before {@link #isDurable} says true (hazard 1). One sync covers every
 * key born before it, whoever asks.
 *
 * <p>What a file holds when it is opened may still be in the page cache of the kernel alone,
 * written by a daemon that was killed: it counts as durable only after the first sync.
 *
 * <p>An entry that a power cut tore belongs to a relation of which nothing was written, or whose
 * file is durably gone; the bytes that say which relation it is lie within one sector, and are old
 * or new as a whole.
 */
public final class RelationKeys extends KeyFile {
  /**
   * One key, without the key.
   *
   * @param tablespaceOid the real tablespace, never 0
   */
  public record Entry(int tablespaceOid, int relNumber, CipherType cipher) {}

  /** A key in memory. {@code index} is guarded by the state lock. */
  private static final class Slot {
    final CipherType cipher;
    final long born;
    int index;

    /** Null until first used. */
    volatile @Nullable InternalKey key;

    Slot(CipherType cipher, long born, int index, @Nullable InternalKey key) {
      this.cipher = cipher;
      this.born = born;
      this.index = index;
      this.key = key;
    }
  }

  /**
   * Names of relations, in the order of their bits: who looks through all databases keeps no more
   * than that.
   */
  public static final class Names {
    private final long[] sorted;

    private Names(long[] names) {
      Arrays.sort(names);
      sorted = names;
    }

    public int count() {
      return sorted.length;
    }

    public int tablespace(int index) {
      return (int) (sorted[index] >>> 32);
    }

    public int relation(int index) {
      return (int) sorted[index];
    }

    /** Negative if the relation has no key. */
    public int indexOf(int tablespaceOid, int relNumber) {
      return Arrays.binarySearch(sorted, key(tablespaceOid, relNumber));
    }
  }

  private static final int TYPE_AT = 12;
  private static final int TYPE_KEY = 1;

  private EntryLayout layout = EntryLayout.RELATION_4;

  /** The file as it is after the next sync; the header's place is not used. */
  private byte[] image = new byte[EntryLayout.HEADER_SIZE];

  /** Number of entries in the image, free ones too. */
  private int size;

  private final ArrayDeque<Integer> free = new ArrayDeque<>();

  /** Entries in the image that differ from the file, or may. */
  private final BitSet dirty = new BitSet();

  /** Entries that are neither free nor understood. */
  private final List<Integer> damaged = new ArrayList<>();

  /** Read without a lock, changed under the state lock. Key: tablespace and relation number. */
  private final ConcurrentHashMap<Long, Slot> slots = new ConcurrentHashMap<>();

  /** Number of the last change; what was loaded is change 1. */
  private long changes = 1;

  /** Changes up to this one are durable. */
  private volatile long durable;

  /**
   * Set while the content is in memory; the lock-free paths look here. It may be unloaded at any
   * time (see {@link #unloadIfUnused}): that a relation has no slot means nothing without a look
   * under the state lock.
   */
  private volatile boolean ready;

  /** Whether a key was asked for since the last {@link #unloadIfUnused}. */
  private volatile boolean used;

  RelationKeys(KeyDirectory directory, Scope scope) {
    super(directory, scope.oid() + "_keys", scope);
  }

  private static long key(int tablespaceOid, int relNumber) {
    return (long) tablespaceOid << 32 | Integer.toUnsignedLong(relNumber);
  }

  @Override
  @Nullable KeyFile fallback() {
    if (scope.equals(Scope.DEFAULT)) {
      return null;
    }
    // the shared relations are the server's
    return scope.oid() == 0 ? directory.walKeys() : directory.defaultKey();
  }

  @Override
  @Nullable SignedHeader parse(byte @Nullable [] content) throws KeyException {
    if (content == null || content.length == 0) {
      ready = true;
      return null;
    }
    if (content.length < EntryLayout.HEADER_SIZE) {
      throw corrupted("its header is cut off at " + content.length + " bytes");
    }
    EntryLayout found = layoutOf(Bytes.getInt(content, 0));
    SignedHeader header = readHeader(content);
    layout = found;
    image = content;
    // half an entry at the end is an append that a crash cut off; it is overwritten
    size = (content.length - EntryLayout.HEADER_SIZE) / layout.size;
    for (int i = 0; i < size; i++) {
      index(i);
    }
    if (!damaged.isEmpty()) {
      KeyDirectory.LOG.warn(
          "{}: {} entries are garbled, the first is number {}",
          directory.path(fileName),
          damaged.size(),
          damaged.get(0));
    }
    ready = true;
    return header;
  }

  private EntryLayout layoutOf(int magic) throws KeyException {
    if (magic == EntryLayout.RELATION_4.magic) {
      return EntryLayout.RELATION_4;
    }
    if (magic == EntryLayout.RELATION_3.magic) {
      return EntryLayout.RELATION_3;
    }
    throw EntryLayout.isSameKind(magic, EntryLayout.RELATION_4.magic)
        ? new KeyException(
            Kind.UNKNOWN_VERSION,
            "key file \"" + directory.path(fileName) + "\" has wrong version",
            "it is of version " + EntryLayout.version(magic) + ", 3 and 4 can be read")
        : corrupted("its first bytes are not \"TDE\"");
  }

  private void index(int i) {
    int at = layout.offset(i);
    boolean current = layout == EntryLayout.RELATION_4;
    int type = Bytes.getInt(image, at + (current ? TYPE_AT : 8));
    CipherType cipher = current ? CipherType.find(Bytes.getInt(image, at)) : CipherType.AES_128;
    if (type == 0) {
      free.add(i);
    } else if (type != TYPE_KEY || cipher == null) {
      damaged.add(i);
    } else {
      long key =
          key(
              Bytes.getInt(image, at + (current ? 4 : 0)),
              Bytes.getInt(image, at + (current ? 8 : 4)));
      // the first of two entries of one name counts, as in pg_tde
      slots.putIfAbsent(key, new Slot(cipher, changes, i, null));
    }
  }

  private @Nullable Slot slot(long name) throws KeyException {
    if (!used) {
      used = true;
    }
    Slot slot = slots.get(name);
    if (slot == null) {
      state.lock();
      try {
        load();
        slot = slots.get(name);
      } finally {
        state.unlock();
      }
    }
    return slot;
  }

  /** Whether the relation has a key; needs no principal key. */
  public boolean contains(int tablespaceOid, int relNumber) throws KeyException {
    return slot(key(tablespaceOid, relNumber)) != null;
  }

  /**
   * The key of a relation, or null if it has none. The same object for everyone; without a lock
   * after the first time.
   *
   * @throws KeyException if the principal key cannot be had, or the entry is not of it
   */
  public @Nullable InternalKey find(int tablespaceOid, int relNumber) throws KeyException {
    long name = key(tablespaceOid, relNumber);
    while (true) {
      Slot slot = slot(name);
      if (slot == null) {
        return null;
      }
      InternalKey key = slot.key;
      if (key != null) {
        return key;
      }
      principal();
      state.lock();
      try {
        PrincipalKey principal = loadedPrincipal();
        if (slots.get(name) != slot || principal == null) {
          continue;
        }
        if (slot.key == null) {
          directory.watch().requireAvailable(principal.id(), scope);
          try (KeyWrap wrap = new KeyWrap(principal, directory.random())) {
            slot.key = unwrap(wrap, slot, tablespaceOid, relNumber);
          }
        }
        return slot.key;
      } finally {
        state.unlock();
      }
    }
  }

  private InternalKey unwrap(KeyWrap wrap, Slot slot, int tablespaceOid, int relNumber)
      throws KeyException {
    int at = layout.offset(slot.index);
    byte[] key = wrap.unwrap(layout, image, at, slot.cipher.keySize());
    if (key == null) {
      throw undecryptable(
          "entry %d (tablespace %s, relation %s)"
              .formatted(
                  slot.index,
                  Integer.toUnsignedString(tablespaceOid),
                  Integer.toUnsignedString(relNumber)));
    }
    int baseIv = at + layout.baseIvAt;
    return new InternalKey(
        slot.cipher, key, Arrays.copyOfRange(image, baseIv, baseIv + InternalKey.BASE_IV_SIZE));
  }

  /**
   * Makes a new random key for a relation, in place of any that it has. The first one of a database
   * may take the default key over, which writes its file; the others cost no I/O.
   *
   * <p>A key that is replaced is not cleared: a handle on a file that is gone may still use it.
   */
  public InternalKey create(int tablespaceOid, int relNumber, CipherType cipher)
      throws KeyException {
    directory.requireWritable();
    InternalKey key = InternalKey.random(cipher, directory.random());
    used = true;
    while (true) {
      principalOrFallback();
      state.lock();
      try {
        PrincipalKey principal = loadedPrincipal();
        if (principal == null) {
          continue;
        }
        checkUsable();
        long name = key(tablespaceOid, relNumber);
        Slot old = slots.get(name);
        int index = old != null ? old.index : allocate();
        int at = layout.offset(index);
        Bytes.putInt(image, at, cipher.code());
        Bytes.putInt(image, at + 4, tablespaceOid);
        Bytes.putInt(image, at + 8, relNumber);
        Bytes.putInt(image, at + TYPE_AT, TYPE_KEY);
        System.arraycopy(
            key.copyBaseIv(), 0, image, at + layout.baseIvAt, InternalKey.BASE_IV_SIZE);
        byte[] bytes = key.copyKey();
        try (KeyWrap wrap = new KeyWrap(principal, directory.random())) {
          wrap.wrap(layout, image, at, bytes);
        } finally {
          Arrays.fill(bytes, (byte) 0);
        }
        dirty.set(index);
        slots.put(name, new Slot(cipher, ++changes, index, key));
        return key;
      } finally {
        state.unlock();
      }
    }
  }

  private int allocate() {
    Integer index = free.poll();
    if (index != null) {
      return index;
    }
    int end = layout.offset(size + 1);
    if (end > image.length) {
      image = Arrays.copyOf(image, Math.max(end, image.length + image.length / 2));
    }
    return size++;
  }

  /** Whether the relation's key would survive a power cut; false if it has none. */
  public boolean isDurable(int tablespaceOid, int relNumber) {
    Slot slot = slots.get(key(tablespaceOid, relNumber));
    return slot != null && slot.born <= durable;
  }

  /**
   * Makes every change before the call durable: one write for each stretch of changed entries and
   * one fsync, shared by those who call meanwhile.
   *
   * @throws KeyException if that failed. After a failed fsync every later call fails too; after a
   *     failed write (no space) a later call tries again
   */
  public void sync() throws KeyException {
    if (directory.settings().readOnly()) {
      return;
    }
    load();
    long wanted;
    state.lock();
    try {
      wanted = changes;
      if (durable >= wanted) {
        return;
      }
      if (!hasHeader()) {
        durable = wanted;
        return;
      }
    } finally {
      state.unlock();
    }
    writes.lock();
    try {
      List<DurableFiles.Patch> patches = new ArrayList<>();
      BitSet written;
      long upTo;
      state.lock();
      try {
        if (durable >= wanted) {
          return;
        }
        checkUsable();
        written = (BitSet) dirty.clone();
        upTo = changes;
        for (int from = written.nextSetBit(0); from >= 0; ) {
          int to = written.nextClearBit(from);
          int at = layout.offset(from);
          patches.add(new DurableFiles.Patch(at, Arrays.copyOfRange(image, at, layout.offset(to))));
          from = written.nextSetBit(to);
        }
        dirty.clear();
      } finally {
        state.unlock();
      }
      try {
        directory.files().update(fileName, patches);
        durable = upTo;
      } catch (KeyException e) {
        state.lock();
        try {
          dirty.or(written);
          if (e.kind() == Kind.SYNC_FAILED) {
            fail(e);
          }
        } finally {
          state.unlock();
        }
        throw e;
      }
    } finally {
      writes.unlock();
    }
  }

  /** Whether {@link #sync} has something to do; false while the file was not read. */
  boolean isPending() {
    state.lock();
    try {
      return ready && durable < changes;
    } finally {
      state.unlock();
    }
  }

  /**
   * Forgets a relation's key, and clears it. Its entry is zeroed by the next {@link #sync}: the
   * caller has made the unlink of the relation's last file durable before (hazard 2).
   */
  public void free(int tablespaceOid, int relNumber) throws KeyException {
    directory.requireWritable();
    state.lock();
    try {
      load();
      Slot slot = slots.remove(key(tablespaceOid, relNumber));
      if (slot == null) {
        return;
      }
      int at = layout.offset(slot.index);
      Arrays.fill(image, at, at + layout.size, (byte) 0);
      dirty.set(slot.index);
      free.add(slot.index);
      changes++;
      InternalKey key = slot.key;
      if (key != null) {
        key.destroy();
      }
    } finally {
      state.unlock();
    }
  }

  /** Every relation that has a key, in file order. */
  public List<Entry> entries() throws KeyException {
    state.lock();
    try {
      load();
      return slots.entrySet().stream()
          .sorted(Comparator.comparingInt(e -> e.getValue().index))
          .map(
              e ->
                  new Entry(
                      (int) (e.getKey() >>> 32), (int) (long) e.getKey(), e.getValue().cipher))
          .toList();
    } finally {
      state.unlock();
    }
  }

  /** Indexes of entries that say neither "free" nor which relation they belong to. */
  public List<Integer> damagedEntries() throws KeyException {
    state.lock();
    try {
      load();
      return List.copyOf(damaged);
    } finally {
      state.unlock();
    }
  }

  /**
   * Which relations have keys. A file that nobody has needed so far is read and not kept; what
   * cannot be read of it has no names.
   */
  public Names names() throws KeyException {
    if (!ready) {
      byte[] content = directory.files().read(fileName);
      if (content != null && content.length >= EntryLayout.HEADER_SIZE && !ready) {
        return new Names(names(content));
      }
    }
    state.lock();
    try {
      load();
      return new Names(slots.keySet().stream().mapToLong(Long::longValue).toArray());
    } finally {
      state.unlock();
    }
  }

  private static long[] names(byte[] content) {
    EntryLayout found =
        Bytes.getInt(content, 0) == EntryLayout.RELATION_4.magic
            ? EntryLayout.RELATION_4
            : EntryLayout.RELATION_3;
    boolean current = found == EntryLayout.RELATION_4;
    int entries = (content.length - EntryLayout.HEADER_SIZE) / found.size;
    return IntStream.range(0, entries)
        .map(found::offset)
        .filter(at -> Bytes.getInt(content, at + (current ? TYPE_AT : 8)) == TYPE_KEY)
        .mapToLong(
            at ->
                key(
                    Bytes.getInt(content, at + (current ? 4 : 0)),
                    Bytes.getInt(content, at + (current ? 8 : 4))))
        .toArray();
  }

  /** The number of keys; 0 if the file cannot be read ({@link #entries} tells why). */
  public int count() {
    try {
      return entries().size();
    } catch (KeyException e) {
      return 0;
    }
  }

  /** The number of keys in memory. */
  int loaded() {
    return slots.size();
  }

  /**
   * Gives the memory back if no key was asked for since the last call and the file holds all there
   * is. Keys are not cleared: whoever was just given one may still copy it.
   */
  void unloadIfUnused() {
    writes.lock();
    state.lock();
    try {
      boolean stored = durable >= changes || (changes == 1 && dirty.isEmpty());
      if (ready && !used && stored && !hasFailed()) {
        slots.values().forEach(slot -> slot.key = null);
        forget();
      }
      used = false;
    } finally {
      state.unlock();
      writes.unlock();
    }
  }

  @Override
  boolean isEmpty() throws KeyException {
    return entries().isEmpty() && damagedEntries().isEmpty();
  }

  @Override
  Rewrapped rewrap(SignedHeader fresh, @Nullable KeyWrap from, KeyWrap to) throws KeyException {
    if (!damaged.isEmpty()) {
      throw undecryptable("entry " + damaged.get(0));
    }
    EntryLayout target = EntryLayout.RELATION_4;
    byte[] content = new byte[target.offset(slots.size())];
    Bytes.putInt(content, 0, target.magic);
    fresh.write(content, 8);
    List<Slot> order = new ArrayList<>(slots.size());
    int at = EntryLayout.HEADER_SIZE;
    for (Entry entry : entries()) {
      Slot slot = slots.get(key(entry.tablespaceOid, entry.relNumber));
      if (slot == null || from == null) {
        throw new IllegalStateException("entries without a principal key");
      }
      Bytes.putInt(content, at, entry.cipher.code());
      Bytes.putInt(content, at + 4, entry.tablespaceOid);
      Bytes.putInt(content, at + 8, entry.relNumber);
      Bytes.putInt(content, at + TYPE_AT, TYPE_KEY);
      int old = layout.offset(slot.index);
      System.arraycopy(
          image, old + layout.baseIvAt, content, at + target.baseIvAt, InternalKey.BASE_IV_SIZE);
      byte[] key = from.unwrap(layout, image, old, entry.cipher.keySize());
      if (key == null) {
        throw undecryptable(
            "entry %d (tablespace %s, relation %s)"
                .formatted(
                    slot.index,
                    Integer.toUnsignedString(entry.tablespaceOid),
                    Integer.toUnsignedString(entry.relNumber)));
      }
      to.wrap(target, content, at, key);
      Arrays.fill(key, (byte) 0);
      order.add(slot);
      at += target.size;
    }
    return new Rewrapped(
        content,
        () -> {
          layout = target;
          image = content;
          size = order.size();
          free.clear();
          dirty.clear();
          for (int i = 0; i < size; i++) {
            order.get(i).index = i;
          }
          durable = changes;
        });
  }

  @Override
  void forgetEntries() {
    for (Slot slot : slots.values()) {
      InternalKey key = slot.key;
      if (key != null) {
        key.destroy();
      }
    }
    slots.clear();
    layout = EntryLayout.RELATION_4;
    image = new byte[EntryLayout.HEADER_SIZE];
    size = 0;
    free.clear();
    dirty.clear();
    damaged.clear();
    ready = false;
  }
}
