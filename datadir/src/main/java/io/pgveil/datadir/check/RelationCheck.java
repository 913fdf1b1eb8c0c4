package io.pgveil.datadir.check;

import io.pgveil.ciphers.PageCipher;
import io.pgveil.datadir.RelationFile;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.KeyException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Checks every page of one relation file. */
final class RelationCheck {
  private static final int PAGE = PageHeader.PAGE;
  private static final int CHUNK = 32 * PAGE;
  private static final long SEGMENT_BYTES = (long) RelationFile.PAGES_PER_SEGMENT * PAGE;

  /** Bad pages of one file that are told one by one. */
  private static final int TOLD_PAGES = 10;

  private final Tree.Entry entry;
  private final RelationFile file;
  private final KeyTables.Database keys;
  private final Report.Mode mode;
  private final boolean checksums;
  private final String redo;
  private final Tally tally;
  private int badPages;

  /**
   * @param redo what more to say about a bad page; empty if the cluster was shut down
   */
  RelationCheck(
      Tree.Entry entry,
      RelationFile file,
      KeyTables.Database keys,
      Report.Mode mode,
      boolean checksums,
      String redo,
      Tally tally) {
    this.entry = entry;
    this.file = file;
    this.keys = keys;
    this.mode = mode;
    this.checksums = checksums;
    this.redo = redo;
    this.tally = tally;
  }

  void run() throws IOException {
    checkSize();
    if (!keys.usable()) {
      unchecked();
      return;
    }
    InternalKey key;
    try {
      key = keys.keys.find(file.tablespace(), file.relNumber());
    } catch (KeyException e) {
      if (!isAllZero()) {
        keys.lost(file.tablespace(), file.relNumber());
      }
      unchecked();
      return;
    }
    if (key == null) {
      pages(null);
      return;
    }
    byte[] bytes = key.copyKey();
    try (PageCipher cipher = new PageCipher(bytes, key.copyBaseIv())) {
      pages(cipher);
    } finally {
      Arrays.fill(bytes, (byte) 0);
    }
  }

  private boolean isAllZero() throws IOException {
    byte[] b = new byte[CHUNK];
    try (FileChannel in = Bytes.open(entry.path())) {
      for (long offset = 0; offset < entry.size(); offset += b.length) {
        if (!Bytes.isZero(b, 0, Bytes.read(in, offset, b, b.length))) {
          return false;
        }
      }
    }
    return true;
  }

  private void unchecked() {
    keys.unchecked.increment();
    tally.count(Count.UNCHECKED_FILES);
    tally.done(entry.size());
  }

  private void checkSize() throws IOException {
    if (entry.size() % PAGE != 0) {
      tally.finding(
          entry.object(),
          "its %d bytes end inside a page".formatted(entry.size()),
          "PostgreSQL ignores the rest; if the relation lacks rows restore it from a backup");
    }
    if (entry.size() > SEGMENT_BYTES) {
      tally.finding(
          entry.object(),
          "its %d bytes are more than a segment holds".formatted(entry.size()),
          "restore it from a backup");
    }
    if (file.segment() > 0 && entry.size() > 0) {
      String stem = entry.name().substring(0, entry.name().lastIndexOf('.'));
      String before = file.segment() == 1 ? stem : stem + "." + (file.segment() - 1);
      Path path = entry.path().resolveSibling(before);
      long size = Files.exists(path, LinkOption.NOFOLLOW_LINKS) ? Files.size(path) : -1;
      if (size != SEGMENT_BYTES) {
        tally.finding(
            entry.object(),
            "the segment before it, "
                + before
                + (size < 0 ? ", is missing" : ", has " + size + " bytes, not 1 GiB"),
            "restore the relation from a backup");
      }
    }
  }

  private void pages(@Nullable PageCipher cipher) throws IOException {
    byte[] b = new byte[(int) Math.min(CHUNK, roundUp(entry.size()))];
    long pages = 0;
    long zeroPages = 0;
    try (FileChannel in = Bytes.open(entry.path())) {
      for (long offset = 0; offset < entry.size(); offset += b.length) {
        int n = Bytes.read(in, offset, b, b.length);
        for (int at = 0; at + PAGE <= n; at += PAGE) {
          int block = file.firstBlock() + (int) ((offset + at) / PAGE);
          if (Bytes.isZero(b, at, PAGE)) {
            zeroPages++;
            continue;
          }
          if (cipher != null) {
            cipher.decrypt(b, at, file.fork(), block, b, at);
          } else if (mode == Report.Mode.PGVEIL) {
            withoutKey(offset + at);
            return;
          }
          String problem = PageHeader.problem(b, at, block, checksums);
          if (problem == null) {
            pages++;
          } else {
            bad(block, problem, cipher != null);
          }
        }
        int tail = n % PAGE;
        if (cipher == null && mode == Report.Mode.PGVEIL && !Bytes.isZero(b, n - tail, tail)) {
          withoutKey(offset + n - tail);
          return;
        }
        tally.done(n);
      }
    }
    if (badPages > TOLD_PAGES) {
      tally.finding(
          entry.object(),
          badPages - TOLD_PAGES + " more pages are bad",
          "restore it from a backup");
    }
    if (cipher != null) {
      tally.count(Count.RELATION_FILES);
      tally.count(Count.PAGES, pages);
      tally.count(Count.ZERO_PAGES, zeroPages);
    } else if (pages + badPages > 0) {
      tally.count(Count.CLEAR_RELATION_FILES);
      tally.count(Count.CLEAR_PAGES, pages);
      tally.clearFile(entry.object());
    }
  }

  private void withoutKey(long offset) {
    tally.finding(
        entry.object(),
        "it has no internal key, and yet content (at byte %d)".formatted(offset),
        KeyTables.RESTORE);
    tally.count(Count.UNCHECKED_FILES);
    tally.done(entry.size() - offset / CHUNK * CHUNK);
  }

  private void bad(int block, String problem, boolean encrypted) {
    if (++badPages <= TOLD_PAGES) {
      tally.finding(
          entry.object(),
          "page %s%s: %s"
              .formatted(Integer.toUnsignedString(block), encrypted ? ", decrypted" : "", problem),
          redo + "restore the relation from a backup");
    }
  }

  private static long roundUp(long n) {
    return (n + PAGE - 1) / PAGE * PAGE;
  }
}
