package io.pgveil.datadir.check;

import io.pgveil.datadir.ControlData;
import io.pgveil.datadir.DataDirectory;
import io.pgveil.datadir.Place;
import io.pgveil.datadir.RelationFile;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Checks a cipher directory that nobody serves or writes: every signature and entry of the key
 * files, every page of every relation, every WAL page and record, every sealed file. The caller
 * holds the directory's lock, and has opened its keys for reading only.
 *
 * <p>Whatever is damaged is a {@link Finding} and never an exception. Memory is bounded by the
 * number of keys and of findings, not by that of files or bytes.
 *
 * <p>What it cannot see, because the formats do not authenticate content: a page, a file or the
 * whole directory put back to an older state, and changes in sealed files that bear no CRC.
 */
public final class Verifier {
  /** Findings that a report holds. */
  public static final int MAX_FINDINGS = 10_000;

  private static final Logger log = LoggerFactory.getLogger(Verifier.class);
  private static final int MAX_THREADS = 2;
  private static final int QUEUED_FILES = 64;

  /**
   * How to check.
   *
   * @param tablespaces directories outside that are served; links to others are not followed
   * @param threads 1 or 2
   */
  public record Options(List<DataDirectory.Tablespace> tablespaces, int threads) {
    public Options {
      tablespaces = List.copyOf(tablespaces);
      if (threads < 1 || threads > MAX_THREADS) {
        throw new IllegalArgumentException("1 or 2 threads, not " + threads);
      }
    }
  }

  /** Is told how far a check is, by one thread at a time. */
  public interface Progress {
    void at(long bytesDone, long bytesTotal);
  }

  private final Path cipherDirectory;
  private final KeyDirectory keys;
  private final Options options;

  public Verifier(Path cipherDirectory, KeyDirectory keys, Options options) {
    this.cipherDirectory = cipherDirectory;
    this.keys = keys;
    this.options = options;
  }

  /** Checks everything. */
  public Report verify(Progress progress) {
    Tree tree = new Tree(cipherDirectory, options.tablespaces());
    Sizes sizes = new Sizes();
    tree.walk(sizes);
    Tally tally = new Tally(progress, sizes.total);
    KeyTables tables = new KeyTables(cipherDirectory, keys, tally);
    tables.check();
    Run run = new Run(tree, tables, tally, mode(tables, tally));
    run.run();
    return tally.report(run.mode);
  }

  /** No seal keys: a cluster of pg_tde, unless its files say otherwise. */
  private Report.Mode mode(KeyTables tables, Tally tally) {
    if (tables.sealExists()) {
      return Report.Mode.PGVEIL;
    }
    for (String name : List.of("PG_VERSION", "global/pg_control")) {
      try (FileChannel in = Bytes.open(cipherDirectory.resolve(name))) {
        if (SealedFile.isSealed(SealedFile.header(in))) {
          tally.finding(
              DataDirectory.KEY_DIRECTORY + "/pgveil.seal",
              "it is missing: no sealed file can be read",
              KeyTables.RESTORE);
          return Report.Mode.PGVEIL;
        }
      } catch (IOException e) {
        // the walk says so
      }
    }
    return Report.Mode.PG_TDE;
  }

  /** The first walk. */
  private static final class Sizes implements Tree.Visitor {
    long total;

    @Override
    public void file(Tree.Entry entry) {
      if (entry.place().role() != Place.Role.KEYS) {
        total += entry.size();
      }
    }

    @Override
    public void skipped(String object, Place place, String name, String why) {}

    @Override
    public void unreadable(String object, Exception e) {}
  }

  /** One check of one file. */
  private interface Check {
    void run() throws IOException, KeyException;
  }

  /** The second walk: it hands files to the threads, and keeps WAL segments for the end. */
  private final class Run implements Tree.Visitor {
    final Report.Mode mode;
    private final Tree tree;
    private final KeyTables tables;
    private final Tally tally;
    private final @Nullable ControlFile control;
    private final String redo;
    private final List<Tree.Entry> wal = new ArrayList<>();
    private final Set<Integer> skippedTablespaces = new HashSet<>();
    private final ExecutorService threads = Executors.newFixedThreadPool(options.threads());
    private final Semaphore room = new Semaphore(QUEUED_FILES);

    Run(Tree tree, KeyTables tables, Tally tally, Report.Mode mode) {
      this.tree = tree;
      this.tables = tables;
      this.tally = tally;
      this.mode = mode;
      this.control = control();
      this.redo =
          control == null || control.isShutDown()
              ? ""
              : "the cluster was not shut down: mount it, start PostgreSQL, which may repair this,"
                  + " stop it and verify again; else ";
    }

    private @Nullable ControlFile control() {
      Path file = cipherDirectory.resolve("global").resolve("pg_control");
      if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
        tally.finding(
            "global/pg_control", "it is missing: this is no data directory", "give the right one");
        return null;
      }
      try (FileChannel in = Bytes.open(file)) {
        byte[] clear = new byte[ControlFile.LIMIT];
        if (mode == Report.Mode.PG_TDE) {
          Bytes.read(in, 0, clear, clear.length);
        } else if (tables.sealUsable()) {
          clear = SealedFile.read(in, in.size(), keys.sealKeys(), ControlFile.LIMIT);
        }
        return clear == null ? null : ControlFile.parse(clear);
      } catch (IOException | KeyException e) {
        // the check of the file itself says so
        return null;
      }
    }

    void run() {
      if (control != null && !control.isShutDown()) {
        tally.note(
            "global/pg_control",
            "the cluster was not shut down (state " + control.data().state() + ")",
            "stop PostgreSQL before a check");
      }
      ControlData data = control == null ? null : control.data();
      if (data != null && !data.dataChecksums()) {
        tally.note(
            "global/pg_control",
            "the cluster has no data checksums: of pages only the headers are checked",
            "run pg_checksums --enable on the mount of the stopped cluster");
      }
      tree.walk(this);
      submit("pg_wal", this::wal);
      threads.shutdown();
      try {
        threads.awaitTermination(Long.MAX_VALUE, TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        threads.shutdownNow();
        Thread.currentThread().interrupt();
        tally.finding(".", "the check was interrupted", "run it again");
      }
      tables.finish(skippedTablespaces);
    }

    private void submit(String object, Check check) {
      room.acquireUninterruptibly();
      threads.execute(
          () -> {
            try {
              check.run();
            } catch (IOException e) {
              unreadable(object, e);
            } catch (KeyException e) {
              tally.finding(object, "it cannot be decrypted: " + e.primary(), KeyTables.RESTORE);
            } catch (RuntimeException e) {
              log.error("check of {}", object, e);
              tally.finding(object, "it could not be checked: " + e, "report this");
            } finally {
              room.release();
            }
          });
    }

    private void wal() throws KeyException {
      if (!tables.walUsable()) {
        wal.forEach(e -> tally.done(e.size()));
        tally.count(Count.UNCHECKED_FILES, wal.size());
        tally.note("pg_wal", "WAL was not checked for want of its keys", "");
        return;
      }
      try (WalRanges ranges = new WalRanges(keys.walKeys())) {
        new WalCheck(wal, ranges, control, redo, tally).run(wal);
      }
    }

    @Override
    public void file(Tree.Entry entry) {
      tally.count(Count.FILES);
      if (entry.name().startsWith("pgveil.staged.") && entry.place().role() != Place.Role.KEYS) {
        tally.note(entry.object(), "a file that was being transcoded is left", "mount removes it");
        tally.done(entry.size());
        return;
      }
      switch (entry.place().file(entry.name())) {
        case KEY_FILE -> {
          // checked before the walk
        }
        case RELATION -> {
          RelationFile file = entry.place().relationFile(entry.name());
          if (file != null) {
            relation(entry, file);
          }
        }
        case WAL_SEGMENT -> wal.add(entry);
        case TEMP_RELATION, WAL_TEMPORARY, SPILL -> {
          // its key was in memory: nobody can read it any more, and PostgreSQL removes it
          tally.count(Count.UNCHECKED_FILES);
          tally.done(entry.size());
        }
        case SEALED -> submit(entry.object(), () -> sealed(entry));
      }
    }

    private void relation(Tree.Entry entry, RelationFile file) {
      KeyTables.Database database = tables.database(file.database());
      database.seen(file.tablespace(), file.relNumber());
      boolean checksums = control != null && control.data().dataChecksums();
      submit(
          entry.object(),
          () -> new RelationCheck(entry, file, database, mode, checksums, redo, tally).run());
    }

    private void sealed(Tree.Entry entry) throws IOException, KeyException {
      if (entry.object().equals("postmaster.pid")) {
        tally.note(
            entry.object(),
            "it exists: PostgreSQL runs, or did not shut down",
            "stop PostgreSQL before a check");
      }
      SealedCheck check = new SealedCheck(entry, tally);
      if (mode == Report.Mode.PG_TDE) {
        check.plain();
      } else if (tables.sealUsable()) {
        check.sealed(keys.sealKeys());
      } else {
        tally.count(Count.UNCHECKED_FILES);
        tally.done(entry.size());
      }
    }

    @Override
    public void skipped(String object, Place place, String name, String why) {
      if (place.role() == Place.Role.TABLESPACES) {
        skippedTablespaces.add(RelationFile.parseOid(name));
      }
      tally.note(object, why + ": it was not checked", "name a tablespace to have it checked");
    }

    @Override
    public void unreadable(String object, Exception e) {
      tally.finding(object, "it cannot be read: " + e, "check the file and the device");
    }
  }
}
