package io.pgveil.datadir;

import io.pgveil.ciphers.PageCipher;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.RelationKeys;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Life of internal keys: one per (database, tablespace, relfilenode), born with the first file of
 * any fork or segment, dropped when the last of them is durably gone (hazard 2).
 *
 * <p>Order of durability: a key is durable before the first cipher byte of its files ({@link
 * RelationContent.Keys#makeDurable}); an unlink is durable before the key entry goes ({@link
 * #reap}).
 */
final class RelationFiles {
  private static final Logger log = LoggerFactory.getLogger(RelationFiles.class);

  private final KeyDirectory keys;
  private final CipherType cipherType;
  private final Backing backing;
  private final Map<Long, Directory> directories = new ConcurrentHashMap<>();
  private final Map<RelationFile, InternalKey> temporaryKeys = new ConcurrentHashMap<>();

  RelationFiles(KeyDirectory keys, CipherType cipherType, Backing backing) {
    this.keys = keys;
    this.cipherType = cipherType;
    this.backing = backing;
  }

  /** The files of one database in one tablespace. Its monitor is held over create and unlink. */
  final class Directory {
    private final int rootFd;
    private final String path;
    private final int tablespace;
    private final int database;
    private final RelationKeys relationKeys;

    /** Files per relfilenode; null until the first change. */
    private @Nullable Map<Integer, Integer> counts;

    /** Whether {@link #counts} was asked for since the last {@link #shed}. */
    private boolean used;

    /** Relfilenodes whose last file is unlinked, but perhaps not durably. */
    private final Set<Integer> dropped = new HashSet<>();

    private Directory(int rootFd, String path, int tablespace, int database) {
      this.rootFd = rootFd;
      this.path = path;
      this.tablespace = tablespace;
      this.database = database;
      this.relationKeys = keys.relationKeys(database);
    }

    /**
     * Counts what is there and drops the keys of relations that have no file: what a crash between
     * an unlink and the end of its key leaves.
     */
    private Map<Integer, Integer> counts() throws DataDirectoryException {
      used = true;
      Map<Integer, Integer> c = counts;
      if (c != null) {
        return c;
      }
      c = new HashMap<>();
      int fd = Posix.openat(rootFd, path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
      if (fd < 0) {
        throw new DataDirectoryException(-fd, path + ": " + Errno.describe(fd));
      }
      try {
        Map<Integer, Integer> found = c;
        DirectoryScan.forEach(
            fd,
            (name, type, ino) -> {
              RelationFile f = RelationFile.parse(tablespace, database, name);
              if (f != null && !f.isTemporary()) {
                found.merge(f.relNumber(), 1, Integer::sum);
              }
            });
        for (RelationKeys.Entry e : relationKeys.entries()) {
          if (e.tablespaceOid() == tablespace && !found.containsKey(e.relNumber())) {
            dropped.add(e.relNumber());
          }
        }
      } catch (KeyException e) {
        throw failed(e);
      } finally {
        Posix.close(fd);
      }
      counts = c;
      return c;
    }

    /** A file of {@code f}'s relation is about to appear: from now on there is a key. */
    void beforeCreate(RelationFile f) throws DataDirectoryException {
      Map<Integer, Integer> c = counts();
      int rel = f.relNumber();
      if (c.getOrDefault(rel, 0) > 0) {
        return;
      }
      if (dropped.contains(rel)) {
        // the name comes back at once: the old file must not, under the new key
        int r = syncDirectory(rootFd, path);
        if (r < 0) {
          throw new DataDirectoryException(-r, path + ": " + Errno.describe(r));
        }
        dropped.remove(rel);
      }
      try {
        relationKeys.create(tablespace, rel, cipherType);
      } catch (KeyException e) {
        throw failed(e);
      }
    }

    void created(RelationFile f) throws DataDirectoryException {
      counts().merge(f.relNumber(), 1, Integer::sum);
    }

    /** The file announced by {@link #beforeCreate} did not appear. */
    void notCreated(RelationFile f) throws DataDirectoryException {
      if (counts().getOrDefault(f.relNumber(), 0) == 0) {
        dropped.add(f.relNumber());
      }
    }

    /**
     * A new key for a relation whose files are there, but no key: a crash came before it was
     * durable. Null if the relation has no file.
     *
     * @param file holds nothing that is needed
     */
    synchronized @Nullable InternalKey createMissing(RelationFile file)
        throws DataDirectoryException {
      if (counts().getOrDefault(file.relNumber(), 0) == 0) {
        return null;
      }
      try {
        InternalKey key = relationKeys.find(tablespace, file.relNumber());
        if (key == null) {
          requireEmptyBut(file);
          key = relationKeys.create(tablespace, file.relNumber(), cipherType);
        }
        return key;
      } catch (KeyException e) {
        throw failed(e);
      }
    }

    private void requireEmptyBut(RelationFile file) throws DataDirectoryException {
      int fd = Posix.openat(rootFd, path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
      if (fd < 0) {
        throw new DataDirectoryException(-fd, path + ": " + Errno.describe(fd));
      }
      List<String> holdData = new ArrayList<>();
      try {
        DirectoryScan.forEach(
            fd,
            (name, type, ino) -> {
              RelationFile f = RelationFile.parse(tablespace, database, name);
              if (f != null
                  && f.relNumber() == file.relNumber()
                  && !f.isTemporary()
                  && !f.equals(file)
                  && !RelationContent.isAllZero(backing, rootFd, path + "/" + name)) {
                holdData.add(name);
              }
            });
      } finally {
        Posix.close(fd);
      }
      if (!holdData.isEmpty()) {
        throw new DataDirectoryException(
            Errno.EIO,
            "no internal key for "
                + file
                + ", and "
                + path
                + "/"
                + holdData.getFirst()
                + " was written with it; restore pg_tde/ and the data files from the same backup");
      }
    }

    /** Finds keys without files as the first change does; they end with the next {@link #reap}. */
    synchronized void compare() throws DataDirectoryException {
      counts();
    }

    void beforeRemove() throws DataDirectoryException {
      counts();
    }

    void removed(RelationFile f) throws DataDirectoryException {
      Map<Integer, Integer> c = counts();
      if (c.merge(f.relNumber(), -1, Integer::sum) <= 0) {
        c.remove(f.relNumber());
        dropped.add(f.relNumber());
      }
    }

    private synchronized int counted() {
      Map<Integer, Integer> c = counts;
      return c == null ? 0 : c.size();
    }

    /** Forgets the counts, which a scan brings back, if nobody has asked since the last call. */
    private synchronized void shed() {
      if (!used && dropped.isEmpty()) {
        counts = null;
      }
      used = false;
    }

    /** Ends the keys of relations whose unlink is durable; returns whether there were any. */
    private boolean reap() throws KeyException {
      synchronized (this) {
        if (dropped.isEmpty()) {
          return false;
        }
        int r = syncDirectory(rootFd, path);
        if (r < 0) {
          log.warn("{}: {}; dropped keys stay for now", path, Errno.describe(r));
          return false;
        }
        for (int rel : dropped) {
          relationKeys.free(tablespace, rel);
        }
        dropped.clear();
      }
      relationKeys.sync();
      return true;
    }
  }

  private static long key(Place place) {
    return (place.tablespace() & 0xffffffffL) << 32 | (place.database() & 0xffffffffL);
  }

  private int syncDirectory(int rootFd, String path) {
    int fd =
        Posix.openat(rootFd, path.isEmpty() ? "." : path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    if (fd < 0) {
      return fd;
    }
    int r = backing.fsync(fd);
    Posix.close(fd);
    return r;
  }

  Directory directory(int rootFd, String path, Place place) {
    return directories.computeIfAbsent(
        key(place), k -> new Directory(rootFd, path, place.tablespace(), place.database()));
  }

  /**
   * A database directory is gone: its keys end, and the key file when no entry is left. Entries of
   * other tablespaces may be all that remains of the database, or all of it, if it was moved.
   *
   * @param parentPath the directory that it was in, synced before any key ends
   */
  void directoryRemoved(int rootFd, String parentPath, Place place) {
    Directory gone = directories.remove(key(place));
    if (gone != null) {
      synchronized (gone) {
        // a round of reap may hold it still, and the names may come back
        gone.dropped.clear();
      }
    }
    if (place.database() == 0 || place.tablespace() == Place.UNRESOLVED) {
      return;
    }
    int r = syncDirectory(rootFd, parentPath);
    if (r < 0) {
      log.warn(
          "{}: {}; the keys of database {} stay", parentPath, Errno.describe(r), place.database());
      return;
    }
    try {
      RelationKeys relationKeys = keys.relationKeys(place.database());
      for (RelationKeys.Entry e : relationKeys.entries()) {
        if (e.tablespaceOid() == place.tablespace()) {
          relationKeys.free(e.tablespaceOid(), e.relNumber());
        }
      }
      endKeyFile(relationKeys, place.database());
    } catch (KeyException e) {
      log.warn("key file of dropped database {}: {}", place.database(), e.getMessage());
    }
  }

  private void endKeyFile(RelationKeys relationKeys, int database) throws KeyException {
    if (relationKeys.entries().isEmpty()) {
      keys.dropDatabase(database);
      log.info("database {} was dropped, and its key file", database);
    } else {
      relationKeys.sync();
    }
  }

  /**
   * Keys are there of a database directory that is not, since the daemon died before {@link
   * #directoryRemoved}.
   *
   * @param relations relfilenodes; a new one, of a directory that was made meanwhile, is none of
   *     them
   */
  void directoryIsMissing(int tablespace, int database, List<Integer> relations)
      throws KeyException {
    if (database == 0) {
      return;
    }
    RelationKeys relationKeys = keys.relationKeys(database);
    List<KeyException> failures = new ArrayList<>();
    // who makes a key has its Directory made before
    directories.compute(
        key(new Place(Place.Role.DATABASE, tablespace, database)),
        (k, present) -> {
          if (present == null) {
            try {
              for (int rel : relations) {
                relationKeys.free(tablespace, rel);
              }
            } catch (KeyException e) {
              failures.add(e);
            }
          }
          return present;
        });
    if (!failures.isEmpty()) {
      throw failures.getFirst();
    }
    endKeyFile(relationKeys, database);
  }

  /** Ends what can be ended; called from a background thread and at the end. */
  void reap() {
    for (Directory d : directories.values()) {
      try {
        d.reap();
      } catch (KeyException e) {
        log.warn("keys of dropped relations in {}: {}", d.path, e.getMessage());
      }
    }
  }

  /** Gives memory back while more than {@code limit} relations are counted. */
  void shed(int limit) {
    long counted = 0;
    for (Directory d : directories.values()) {
      counted += d.counted();
    }
    if (counted > limit) {
      directories.values().forEach(Directory::shed);
    }
  }

  /** Key access for the content of one relation file. */
  RelationContent.Keys keysOf(RelationFile f, @Nullable Directory directory) {
    return f.isTemporary() ? new TemporaryKeys(f) : new StoredKeys(f, directory);
  }

  void temporaryRemoved(RelationFile f) {
    if (f.fork() == 0 && f.segment() == 0) {
      InternalKey k = temporaryKeys.remove(relation(f));
      if (k != null) {
        k.destroy();
      }
    }
  }

  private static RelationFile relation(RelationFile f) {
    return new RelationFile(f.tablespace(), f.database(), f.relNumber(), f.backend(), 0, 0);
  }

  private static CipherPool<PageCipher> pool(InternalKey key) {
    byte[] k = key.copyKey();
    byte[] iv = key.copyBaseIv();
    return new CipherPool<>(() -> new PageCipher(k, iv), () -> Arrays.fill(k, (byte) 0));
  }

  private static DataDirectoryException failed(KeyException e) {
    log.error("{}", e.getMessage());
    return DataDirectoryException.of(e);
  }

  private final class StoredKeys implements RelationContent.Keys {
    private final RelationFile file;
    private final @Nullable Directory directory;
    private final RelationKeys relationKeys;
    private volatile boolean durable;

    StoredKeys(RelationFile file, @Nullable Directory directory) {
      this.file = file;
      this.directory = directory;
      this.relationKeys = keys.relationKeys(file.database());
    }

    @Override
    public @Nullable CipherPool<PageCipher> find() throws DataDirectoryException {
      try {
        InternalKey key = relationKeys.find(file.tablespace(), file.relNumber());
        return key == null ? null : pool(key);
      } catch (KeyException e) {
        if (e.kind() == KeyException.Kind.CORRUPTED) {
          // a power cut can tear an entry that no page was written under yet: as good as none
          log.error("{}", e.getMessage());
          return null;
        }
        throw failed(e);
      }
    }

    @Override
    public CipherPool<PageCipher> create() throws DataDirectoryException {
      if (directory == null) {
        throw new DataDirectoryException(
            Errno.EIO, "no link in pg_tblspc leads to the tablespace of " + file);
      }
      InternalKey key = directory.createMissing(file);
      if (key == null) {
        // the file has no name any more: its key dies with it
        durable = true;
        key = InternalKey.generate(cipherType);
      }
      return pool(key);
    }

    @Override
    public boolean isDurable() {
      if (!durable) {
        durable = relationKeys.isDurable(file.tablespace(), file.relNumber());
      }
      return durable;
    }

    @Override
    public void makeDurable() throws DataDirectoryException {
      try {
        if (!isDurable()) {
          relationKeys.sync();
          durable = true;
        }
      } catch (KeyException e) {
        throw failed(e);
      }
    }
  }

  /** A temporary relation's key lives in memory; the file is garbage afterwards. */
  private final class TemporaryKeys implements RelationContent.Keys {
    private final RelationFile relation;

    TemporaryKeys(RelationFile file) {
      this.relation = relation(file);
    }

    @Override
    public @Nullable CipherPool<PageCipher> find() {
      InternalKey k = temporaryKeys.get(relation);
      return k == null ? null : pool(k);
    }

    @Override
    public CipherPool<PageCipher> create() {
      return pool(temporaryKeys.computeIfAbsent(relation, r -> InternalKey.generate(cipherType)));
    }

    @Override
    public boolean isDurable() {
      return true;
    }

    @Override
    public void makeDurable() {}
  }

  /** Bytes of a directory scan buffer. */
  static final int SCAN_BUFFER = 32 * 1024;

  /** Reads a directory, without "." and "..". */
  static final class DirectoryScan {
    interface Visitor {
      void visit(String name, int type, long ino);
    }

    private DirectoryScan() {}

    static void forEach(int fd, Visitor visitor) throws DataDirectoryException {
      try (Arena arena = Arena.ofConfined()) {
        long buffer = arena.allocate(SCAN_BUFFER, 8).address();
        while (true) {
          int n = Posix.getdents(fd, buffer, SCAN_BUFFER);
          if (n < 0) {
            throw new DataDirectoryException(-n, "directory scan: " + Errno.describe(n));
          }
          if (n == 0) {
            return;
          }
          for (int p = 0; p < n; ) {
            int length = Memory.getShort(buffer + p + 16);
            String name =
                Memory.getString(
                    buffer + p + 19, Memory.stringLength(buffer + p + 19, length - 19));
            if (!name.equals(".") && !name.equals("..")) {
              visitor.visit(name, Memory.getByte(buffer + p + 18), Memory.getLong(buffer + p));
            }
            p += length;
          }
        }
      }
    }
  }
}
