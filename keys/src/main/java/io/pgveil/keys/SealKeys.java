package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The seal keys, from which the keys of sealed files are derived: {@code pgveil.seal}, wrapped by
 * the server's principal key. A file of ours in pg_tde's directory; pg_tde ignores it.
 *
 * <pre>
 *   0        4   magic 50 47 56 01
 *   4        4   number of entries N
 *   8      312   signed principal-key info, database id 1664
 * 320+128i 128   entry: id 16, purpose 4 (1 = seal), state 4 (1 = active, 2 = read-only),
 *                created 8 (Unix seconds), IV 16, tag 16, wrapped key 32, zero 32;
 *                AES-GCM under the principal key, AAD = entry bytes 0..31
 * 320+128N  32   IV 16, tag 16: AES-GCM of nothing, AAD = all bytes before, so that a dropped,
 *                repeated or reordered entry is seen
 * </pre>
 *
 * The file is always replaced whole. Ids are random and not numbers in sequence: an older file that
 * is restored must never give an id a second key. Exactly one key is active.
 */
public final class SealKeys extends KeyFile {
  /** Length of a key id in bytes. */
  public static final int ID_SIZE = 16;

  /** Length of a seal key in bytes. */
  public static final int KEY_SIZE = 32;

  private static final EntryLayout LAYOUT = EntryLayout.SEAL_1;
  private static final int COUNT_AT = 4;
  private static final int PURPOSE_AT = 16;
  private static final int STATE_AT = 20;
  private static final int CREATED_AT = 24;
  private static final int TRAILER_SIZE = KeyWrap.IV_SIZE + KeyWrap.TAG_SIZE;
  private static final int PURPOSE_SEAL = 1;
  private static final int ACTIVE = 1;
  private static final int READ_ONLY = 2;
  private static final byte[] NOTHING = new byte[0];

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record SealKey(byte[] id, boolean active, long created, SecretMemory.Secret secret) {}

  /** The file; empty if there is none. Guarded by the state lock, like the keys. */
  private byte[] image = new byte[0];

  /** Null until unwrapped. */
  private @Nullable List<SealKey> keys;

  SealKeys(KeyDirectory directory) {
    super(directory, "pgveil.seal", Scope.SERVER);
  }

  @Override
  KeyFile fallback() {
    return directory.walKeys();
  }

  @Override
  @Nullable SignedHeader parse(byte @Nullable [] content) throws KeyException {
    if (content == null) {
      return null;
    }
    if (content.length < LAYOUT.offset(0) + TRAILER_SIZE) {
      throw corrupted("it is cut off at " + content.length + " bytes");
    }
    if (Bytes.getInt(content, 0) != LAYOUT.magic) {
      throw EntryLayout.isSameKind(Bytes.getInt(content, 0), LAYOUT.magic)
          ? new KeyException(
              Kind.UNKNOWN_VERSION,
              "seal key file \"" + directory.path(fileName) + "\" has wrong version",
              "it is of version "
                  + EntryLayout.version(Bytes.getInt(content, 0))
                  + ", 1 can be read")
          : corrupted("its first bytes are not \"PGV\"");
    }
    long count = Integer.toUnsignedLong(Bytes.getInt(content, COUNT_AT));
    if (content.length != LAYOUT.offset(0) + count * LAYOUT.size + TRAILER_SIZE) {
      throw corrupted(
          "it has %d bytes, which does not fit %d entries".formatted(content.length, count));
    }
    SignedHeader header = readHeader(content);
    image = content;
    return header;
  }

  /** Whether there are seal keys. */
  public boolean exist() throws KeyException {
    return hasHeader();
  }

  /**
   * The id of the key for new files.
   *
   * @throws KeyException if there is no seal key: they are never made again where sealed files
   *     exist, so this asks for a restore
   */
  public byte[] activeId() throws KeyException {
    for (SealKey key : keys()) {
      if (key.active) {
        return key.id.clone();
      }
    }
    throw corrupted("it holds no active key");
  }

  /** A copy of the key with this id, which the caller clears; null if there is none. */
  public byte @Nullable [] copyKey(byte[] id) throws KeyException {
    for (SealKey key : keys()) {
      if (Arrays.equals(key.id, id)) {
        return key.secret.copy();
      }
    }
    return null;
  }

  /** Makes the first seal key, unless there is one. Needs a server or default principal key. */
  public void create() throws KeyException {
    directory.requireWritable();
    if (!exist()) {
      // taking the server's principal key over writes the file, with a first key in it
      principalOrFallback();
    }
  }

  /** Makes a new active key; the others stay for reading. */
  public void rotate() throws KeyException {
    directory.requireWritable();
    keys();
    writes.lock();
    state.lock();
    try {
      checkUsable();
      PrincipalKey principal = loadedPrincipal();
      SignedHeader header = header();
      List<SealKey> old = keys;
      if (principal == null || header == null || old == null) {
        throw missing();
      }
      List<SealKey> next = new ArrayList<>();
      for (SealKey key : old) {
        next.add(new SealKey(key.id, false, key.created, key.secret));
      }
      SealKey fresh = newKey();
      next.add(fresh);
      try (KeyWrap to = new KeyWrap(principal, directory.random())) {
        byte[] content = build(header, next, to);
        directory.files().replace(fileName, content);
        image = content;
        keys = next;
      } catch (KeyException e) {
        fresh.secret.close();
        if (e.kind() == Kind.SYNC_FAILED) {
          fail(e);
        }
        throw e;
      }
      KeyDirectory.LOG.info("made a new seal key; there are {}", next.size());
    } finally {
      state.unlock();
      writes.unlock();
    }
  }

  /** The number of keys; 0 if there is no file. */
  public int count() throws KeyException {
    load();
    state.lock();
    try {
      return image.length == 0 ? 0 : Bytes.getInt(image, COUNT_AT);
    } finally {
      state.unlock();
    }
  }

  private KeyException missing() {
    return new KeyException(
        Kind.NOT_CONFIGURED,
        "seal key file \"" + directory.path(fileName) + "\" is missing",
        "without it no sealed file can be read: restore it from a backup");
  }

  /** The keys, unwrapped; called with no lock, since the principal key may have to be fetched. */
  private List<SealKey> keys() throws KeyException {
    while (true) {
      if (principal() == null) {
        throw missing();
      }
      state.lock();
      try {
        PrincipalKey principal = loadedPrincipal();
        if (principal == null) {
          continue;
        }
        List<SealKey> now = keys;
        if (now == null) {
          try (KeyWrap from = new KeyWrap(principal, directory.random())) {
            now = unwrap(from);
          }
          keys = now;
        }
        return now;
      } finally {
        state.unlock();
      }
    }
  }

  private List<SealKey> unwrap(KeyWrap from) throws KeyException {
    int trailer = image.length - TRAILER_SIZE;
    byte[] tag = Arrays.copyOfRange(image, trailer + KeyWrap.IV_SIZE, image.length);
    if (from.open(image, trailer, image, 0, trailer, tag) == null) {
      throw corrupted("its authentication tag is wrong");
    }
    List<SealKey> found = new ArrayList<>();
    for (int at = LAYOUT.offset(0); at < trailer; at += LAYOUT.size) {
      byte[] key = from.unwrap(LAYOUT, image, at, KEY_SIZE);
      if (key == null || Bytes.getInt(image, at + PURPOSE_AT) != PURPOSE_SEAL) {
        throw undecryptable("entry " + found.size());
      }
      found.add(
          new SealKey(
              Arrays.copyOfRange(image, at, at + ID_SIZE),
              Bytes.getInt(image, at + STATE_AT) == ACTIVE,
              Bytes.getLong(image, at + CREATED_AT),
              directory.secrets().store(key)));
      Arrays.fill(key, (byte) 0);
    }
    return found;
  }

  private SealKey newKey() {
    byte[] id = new byte[ID_SIZE];
    byte[] key = new byte[KEY_SIZE];
    directory.random().nextBytes(id);
    directory.random().nextBytes(key);
    SecretMemory.Secret secret = directory.secrets().store(key);
    Arrays.fill(key, (byte) 0);
    return new SealKey(id, true, Instant.now().getEpochSecond(), secret);
  }

  private byte[] build(SignedHeader header, List<SealKey> list, KeyWrap to) {
    byte[] content = new byte[LAYOUT.offset(list.size()) + TRAILER_SIZE];
    Bytes.putInt(content, 0, LAYOUT.magic);
    Bytes.putInt(content, COUNT_AT, list.size());
    header.write(content, 8);
    int at = LAYOUT.offset(0);
    for (SealKey key : list) {
      System.arraycopy(key.id, 0, content, at, ID_SIZE);
      Bytes.putInt(content, at + PURPOSE_AT, PURPOSE_SEAL);
      Bytes.putInt(content, at + STATE_AT, key.active ? ACTIVE : READ_ONLY);
      Bytes.putLong(content, at + CREATED_AT, key.created);
      byte[] bytes = key.secret.copy();
      to.wrap(LAYOUT, content, at, bytes);
      Arrays.fill(bytes, (byte) 0);
      at += LAYOUT.size;
    }
    byte[] iv = new byte[KeyWrap.IV_SIZE];
    directory.random().nextBytes(iv);
    byte[] tag = to.seal(iv, content, 0, at, NOTHING);
    System.arraycopy(iv, 0, content, at, KeyWrap.IV_SIZE);
    System.arraycopy(tag, 0, content, at + KeyWrap.IV_SIZE, KeyWrap.TAG_SIZE);
    return content;
  }

  @Override
  Rewrapped rewrap(SignedHeader fresh, @Nullable KeyWrap from, KeyWrap to) throws KeyException {
    List<SealKey> now = keys;
    if (now == null) {
      now = from == null ? List.of(newKey()) : unwrap(from);
    }
    List<SealKey> list = now;
    byte[] content = build(fresh, list, to);
    return new Rewrapped(
        content,
        () -> {
          image = content;
          keys = list;
        });
  }

  @Override
  boolean isEmpty() {
    return false;
  }

  @Override
  void forgetEntries() {
    List<SealKey> now = keys;
    if (now != null) {
      now.forEach(key -> key.secret.close());
    }
    keys = null;
    image = new byte[0];
  }
}
