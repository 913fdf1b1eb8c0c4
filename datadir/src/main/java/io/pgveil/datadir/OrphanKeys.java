package io.pgveil.datadir;

import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.RelationKeys;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntPredicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds keys whose relation has no file: what is left when the daemon dies after a file was
 * unlinked, or before it was made. A database directory that is changed again finds its own ({@link
 * RelationFiles}), but nothing may ever change in a database that was half made or half dropped.
 *
 * <p>What it reads is old when it is compared, so it is a hint only: whether a key ends is decided
 * under the lock of its directory. Memory: 8 bytes for each key of one database at a time.
 */
final class OrphanKeys {
  private static final Logger log = LoggerFactory.getLogger(OrphanKeys.class);

  /** A directory with the files of one database in one tablespace. */
  private record Found(int rootFd, String path, Place place) {}

  /** Tells the place of a directory. */
  interface Places {
    Place of(Place parent, String name);
  }

  private final KeyDirectory keys;
  private final RelationFiles relations;
  private final Map<Integer, List<Found>> found = new HashMap<>();

  OrphanKeys(KeyDirectory keys, RelationFiles relations) {
    this.keys = keys;
    this.relations = relations;
  }

  /** Adds the database directories of one view. */
  void look(int rootFd, String path, Place place, Places places) throws DataDirectoryException {
    if (place.role() == Place.Role.DATABASE) {
      found
          .computeIfAbsent(place.database(), db -> new ArrayList<>())
          .add(new Found(rootFd, path, place));
      return;
    }
    List<String> names = new ArrayList<>();
    scan(rootFd, path, names::add);
    for (String name : names) {
      Place child = places.of(place, name);
      switch (child.role()) {
        case BASE, TABLESPACES, TABLESPACE, TABLESPACE_VERSION, DATABASE ->
            look(rootFd, path.equals(".") ? name : path + "/" + name, child, places);
        default -> {}
      }
    }
  }

  private interface Names {
    void name(String name);
  }

  /** Nothing if it is no directory, a link to one, or gone. */
  private static void scan(int rootFd, String path, Names visitor) throws DataDirectoryException {
    int fd = Posix.openat(rootFd, path, Posix.O_RDONLY | Posix.O_DIRECTORY | Posix.O_NOFOLLOW, 0);
    if (fd == -Errno.ENOENT || fd == -Errno.ENOTDIR || fd == -Errno.ELOOP) {
      return;
    }
    if (fd < 0) {
      throw new DataDirectoryException(-fd, path + ": " + Errno.describe(fd));
    }
    try {
      RelationFiles.DirectoryScan.forEach(fd, (name, type, ino) -> visitor.name(name));
    } finally {
      Posix.close(fd);
    }
  }

  /**
   * Ends what has no file. All directories were looked at before.
   *
   * @param elsewhere tells which tablespaces are in places that nobody has looked at
   * @return whether there was any: recovery may have been at work, so it is worth another look
   */
  boolean end(IntPredicate elsewhere) throws DataDirectoryException, KeyException {
    boolean any = false;
    for (int database : keys.databases()) {
      RelationKeys.Names names = keys.relationKeys(database).names();
      if (names.count() > 0) {
        any |= end(database, names, elsewhere);
      }
    }
    return any;
  }

  private boolean end(int database, RelationKeys.Names names, IntPredicate elsewhere)
      throws DataDirectoryException, KeyException {
    Map<Integer, Found> directories = new TreeMap<>();
    BitSet seen = new BitSet();
    for (Found f : found.getOrDefault(database, List.of())) {
      directories.put(f.place.tablespace(), f);
      scan(
          f.rootFd,
          f.path,
          name -> {
            RelationFile r = f.place.relationFile(name);
            int i = r == null ? -1 : names.indexOf(r.tablespace(), r.relNumber());
            if (i >= 0) {
              seen.set(i);
            }
          });
    }
    boolean any = false;
    Map<Integer, List<Integer>> orphans = new TreeMap<>();
    for (int i = seen.nextClearBit(0); i < names.count(); i = seen.nextClearBit(i + 1)) {
      orphans.computeIfAbsent(names.tablespace(i), t -> new ArrayList<>()).add(names.relation(i));
    }
    for (var e : orphans.entrySet()) {
      Found f = directories.get(e.getKey());
      if (f == null && elsewhere.test(e.getKey())) {
        continue;
      }
      any = true;
      log.info(
          "database {}, tablespace {}: {} keys whose files a crash has taken",
          Integer.toUnsignedString(database),
          Integer.toUnsignedString(e.getKey()),
          e.getValue().size());
      if (f != null) {
        relations.directory(f.rootFd, f.path, f.place).compare();
      } else {
        relations.directoryIsMissing(e.getKey(), database, e.getValue());
      }
    }
    return any;
  }
}
