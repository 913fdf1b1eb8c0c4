package io.pgveil.datadir.check;

import io.pgveil.datadir.DataDirectory;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.KeyFileSummary;
import io.pgveil.keys.ListProviders;
import io.pgveil.keys.RelationKeys;
import io.pgveil.keys.Scope;
import io.pgveil.keys.WalRange;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Checks the key directory: every signature and every entry. Remembers which keys can be used and
 * which no file was met of yet.
 */
final class KeyTables {
  static final String RESTORE =
      "restore pg_tde/ from a backup taken at the same instant as the data files";

  private static final Pattern NAME = Pattern.compile("(-?\\d{1,10})_(keys|providers)");
  private static final long RELATION_MAGIC = 0x0445_4454L;
  private static final long WAL_MAGIC = 0x024B_4557L;

  /** The keys of one database. */
  static final class Database {
    final RelationKeys keys;

    /** Keys (tablespace, relation) of which no file was met. */
    private final Map<Long, RelationKeys.Entry> unseen = new ConcurrentHashMap<>();

    /** Keys that their principal key does not open, with the reason. */
    private final Map<Long, String> torn = new ConcurrentHashMap<>();

    /** Those of them whose files hold content. */
    private final Set<Long> lost = ConcurrentHashMap.newKeySet();

    /** False if the file or its principal key cannot be read: then no key of it can be used. */
    private volatile boolean usable = true;

    final LongAdder unchecked = new LongAdder();

    private Database(RelationKeys keys) {
      this.keys = keys;
    }

    boolean usable() {
      return usable;
    }

    void seen(int tablespace, int relNumber) {
      unseen.remove(key(tablespace, relNumber));
    }

    /** Files of a relation hold content, and its key cannot be unwrapped. */
    void lost(int tablespace, int relNumber) {
      lost.add(key(tablespace, relNumber));
    }

    private static long key(int tablespace, int relNumber) {
      return (long) tablespace << 32 | Integer.toUnsignedLong(relNumber);
    }
  }

  private final Path directory;
  private final KeyDirectory keys;
  private final Tally tally;
  private final Map<Integer, Database> databases = new ConcurrentHashMap<>();
  private boolean walUsable = true;
  private boolean sealUsable;
  private boolean sealExists;

  KeyTables(Path cipherDirectory, KeyDirectory keys, Tally tally) {
    this.directory = cipherDirectory.resolve(DataDirectory.KEY_DIRECTORY);
    this.keys = keys;
    this.tally = tally;
  }

  KeyDirectory directory() {
    return keys;
  }

  boolean walUsable() {
    return walUsable;
  }

  boolean sealUsable() {
    return sealUsable;
  }

  boolean sealExists() {
    return sealExists;
  }

  Database database(int oid) {
    return databases.computeIfAbsent(oid, o -> new Database(keys.relationKeys(o)));
  }

  private static String object(String name) {
    return DataDirectory.KEY_DIRECTORY + "/" + name;
  }

  void check() {
    sealExists = Files.exists(directory.resolve("pgveil.seal"), LinkOption.NOFOLLOW_LINKS);
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
      for (Path file : files) {
        check(file, file.getFileName().toString());
      }
    } catch (IOException | DirectoryIteratorException e) {
      cannotRead(DataDirectory.KEY_DIRECTORY, e);
    }
  }

  private void cannotRead(String object, Exception e) {
    tally.finding(object, "it cannot be read: " + e, "check the file and its device");
  }

  private void check(Path file, String name) {
    Matcher m = NAME.matcher(name);
    if (m.matches()) {
      int oid = (int) Long.parseLong(m.group(1));
      if (m.group(2).equals("keys")) {
        relationKeys(file, name, oid);
      } else {
        providers(name, oid);
      }
    } else if (name.equals("wal_keys")) {
      walKeys(file, name);
    } else if (name.equals("pgveil.seal")) {
      sealKeys(file, name);
    } else if (name.equals("keys_version")) {
      version(file, name);
    } else if (name.endsWith(".r")) {
      tally.note(
          object(name), "a file that was about to replace another is left", "mount removes it");
    } else if (name.startsWith("pgveil.staged.")) {
      tally.note(object(name), "a file that was being transcoded is left", "mount removes it");
    } else if (!name.equals("pgveil.lock")) {
      tally.note(object(name), "it is none of the files of a key directory", "");
    }
  }

  private void failed(String name, String which, KeyException e) {
    StringBuilder what = new StringBuilder(which).append(e.primary());
    if (e.detail() != null) {
      what.append(": ").append(e.detail());
    }
    String remedy =
        switch (e.kind()) {
          case CORRUPTED, WRONG_KEY -> RESTORE;
          case UNKNOWN_VERSION -> "use the version of pgveil that wrote it";
          default -> String.valueOf(e.getMessage());
        };
    tally.finding(object(name), what.toString(), remedy);
  }

  private KeyFileSummary summary(Path file, String name) throws IOException, KeyException {
    KeyFileSummary summary = KeyFileSummary.parse(object(name), Files.readAllBytes(file));
    if (summary.trailingBytes() != 0) {
      tally.note(
          object(name),
          "it ends with %d bytes of an entry that a crash cut off"
              .formatted(summary.trailingBytes()),
          "the next entry overwrites them");
    }
    return summary;
  }

  private void relationKeys(Path file, String name, int oid) {
    Scope scope = new Scope(oid);
    if (scope.equals(Scope.DEFAULT)) {
      defaultKey(file, name);
      return;
    }
    if (scope.equals(Scope.SERVER)) {
      tally.note(object(name), "1664 is the OID of no database", "");
      return;
    }
    Database database = database(oid);
    try {
      if (Files.size(file) == 0) {
        return;
      }
      Set<Long> names = new HashSet<>();
      for (KeyFileSummary.Entry e : summary(file, name).entries()) {
        if (e instanceof KeyFileSummary.RelationEntry r
            && !r.isFree()
            && !names.add(Database.key(r.tablespaceOid(), r.relNumber()))) {
          tally.note(
              object(name),
              "entry %d is a second one of %s"
                  .formatted(r.index(), text(r.tablespaceOid(), r.relNumber())),
              "the first one counts");
        }
      }
      for (RelationKeys.Entry e : database.keys.entries()) {
        database.unseen.put(Database.key(e.tablespaceOid(), e.relNumber()), e);
      }
      for (int i : database.keys.damagedEntries()) {
        tally.finding(object(name), "entry " + i + " is garbled", RESTORE);
      }
      keys.principalKeys().load(scope);
      for (RelationKeys.Entry e : List.copyOf(database.unseen.values())) {
        unwrap(database, e);
      }
    } catch (KeyException e) {
      database.usable = false;
      failed(name, "", e);
    } catch (IOException e) {
      database.usable = false;
      cannotRead(object(name), e);
    }
  }

  private void unwrap(Database database, RelationKeys.Entry e) {
    try {
      if (database.keys.find(e.tablespaceOid(), e.relNumber()) != null) {
        tally.count(Count.KEYS);
      }
    } catch (KeyException wrong) {
      database.torn.put(
          Database.key(e.tablespaceOid(), e.relNumber()),
          "key of " + text(e.tablespaceOid(), e.relNumber()) + ": " + wrong.primary());
    }
  }

  static String text(int tablespace, int relNumber) {
    return "relation %s in tablespace %s"
        .formatted(Integer.toUnsignedString(relNumber), Integer.toUnsignedString(tablespace));
  }

  private void defaultKey(Path file, String name) {
    try {
      if (Files.size(file) == 0) {
        return;
      }
      if (!summary(file, name).entries().isEmpty()) {
        tally.note(object(name), "the default key's file holds entries", "");
      }
      keys.principalKeys().load(Scope.DEFAULT);
    } catch (KeyException e) {
      failed(name, "", e);
    } catch (IOException e) {
      cannotRead(object(name), e);
    }
  }

  private void walKeys(Path file, String name) {
    try {
      if (Files.size(file) == 0) {
        return;
      }
      for (KeyFileSummary.Entry e : summary(file, name).entries()) {
        if (e instanceof KeyFileSummary.WalEntry w && !w.isRange()) {
          tally.note(
              object(name),
              w.type() == 0
                  ? "entry " + w.index() + " is not valid any more: a later one took its place"
                  : "entry " + w.index() + " has no place: its range was never begun",
              "");
        }
      }
      keys.principalKeys().load(Scope.SERVER);
      for (WalRange r : keys.walKeys().ranges()) {
        try {
          keys.walKeys().key(r);
          tally.count(Count.WAL_RANGES);
        } catch (KeyException e) {
          walUsable = false;
          failed(name, "range at " + Lsn.text(r.tli(), r.startLsn()) + ": ", e);
        }
        if (r.type() == WalRange.Type.UNENCRYPTED) {
          tally.note(
              object(name),
              "WAL from " + Lsn.text(r.tli(), r.startLsn()) + " to the next range is in the clear",
              "keep pg_tde.wal_encrypt on");
        }
      }
    } catch (KeyException e) {
      walUsable = false;
      failed(name, "", e);
    } catch (IOException e) {
      walUsable = false;
      cannotRead(object(name), e);
    }
  }

  private void sealKeys(Path file, String name) {
    try {
      int count = summary(file, name).entries().size();
      keys.sealKeys().activeId();
      sealUsable = true;
      tally.count(Count.SEAL_KEYS, count);
    } catch (KeyException e) {
      failed(name, "", e);
    } catch (IOException e) {
      cannotRead(object(name), e);
    }
  }

  private void version(Path file, String name) {
    try {
      byte[] b = Files.readAllBytes(file);
      if (b.length < 8
          || (Bytes.getInt(b, 0) & 0xf0ff_ffffL) != (RELATION_MAGIC & 0xf0ff_ffffL)
          || (Bytes.getInt(b, 4) & 0xf0ff_ffffL) != (WAL_MAGIC & 0xf0ff_ffffL)) {
        tally.finding(object(name), "it is garbled", "remove it: mount makes it anew");
      } else if (Bytes.getInt(b, 0) != RELATION_MAGIC || Bytes.getInt(b, 4) != WAL_MAGIC) {
        tally.note(object(name), "it is of another version", "mount migrates the key files");
      }
    } catch (IOException e) {
      cannotRead(object(name), e);
    }
  }

  private void providers(String name, int oid) {
    try {
      new ListProviders(new Scope(oid)).run(keys);
    } catch (KeyException e) {
      failed(name, "", e);
    }
  }

  /**
   * After the walk: keys without files, and how many files could not be checked.
   *
   * @param skipped tablespaces that were not walked
   */
  void finish(Set<Integer> skipped) {
    databases.forEach(
        (oid, d) -> {
          String name = object(oid + "_keys");
          for (RelationKeys.Entry e : d.unseen.values()) {
            if (!skipped.contains(e.tablespaceOid())) {
              tally.finding(
                  name,
                  "it holds a key of "
                      + text(e.tablespaceOid(), e.relNumber())
                      + ", of which there is no file",
                  "harmless where the relation was dropped, or a crash or power cut undid its creation: the"
                      + " key is dropped once PostgreSQL has started on the next mount");
            }
          }
          // a power cut can tear an entry that no page was written under yet
          d.torn.forEach(
              (key, why) -> {
                if (d.lost.contains(key)) {
                  tally.finding(name, why + ", and the relation has content", RESTORE);
                } else {
                  tally.note(
                      name,
                      why + "; the relation has no content",
                      "it gets a new key when written");
                }
              });
          if (d.unchecked.sum() != 0) {
            tally.note(
                name,
                d.unchecked.sum() + " relation files were not checked for want of their keys",
                "see the findings about this file");
          }
        });
  }
}
