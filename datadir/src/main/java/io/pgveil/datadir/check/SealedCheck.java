package io.pgveil.datadir.check;

import io.pgveil.ciphers.SealedHeader;
import io.pgveil.ciphers.SealedLayout;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.SealKeys;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * Checks one sealed file, or the same file in the clear: size, both copies of the header, whether
 * all of it can be read, and the CRC of those that bear one. XTS gives every unit some clear bytes,
 * so nothing else can be said about its content.
 */
final class SealedCheck {
  private static final String RESTORE = "restore the file from a backup";

  /** PostgreSQL leaves such directories, encrypted or not, and never looks at them again. */
  private static final String OR_ABANDONED =
      "; in a directory whose name is the OID of no database in pg_database, which an interrupted"
          + " CREATE DATABASE leaves, remove the directory in the mount";

  private final Tree.Entry entry;
  private final Tally tally;

  SealedCheck(Tree.Entry entry, Tally tally) {
    this.entry = entry;
    this.tally = tally;
  }

  /** In a cluster of pg_tde. */
  void plain() throws IOException {
    tally.count(Count.PLAIN_FILES);
    try (FileChannel in = Bytes.open(entry.path())) {
      readAll(in);
      byte[] start = new byte[ControlFile.LIMIT];
      content(Arrays.copyOf(start, Bytes.read(in, 0, start, start.length)));
    }
  }

  void sealed(SealKeys keys) throws IOException, KeyException {
    tally.count(Count.SEALED_FILES);
    if (SealedLayout.clearLength(entry.size()) == 0) {
      empty();
      return;
    }
    try (FileChannel in = Bytes.open(entry.path())) {
      SealedFile.Copies copies = SealedFile.copies(SealedFile.header(in), keys);
      readAll(in);
      if (copies.header() == null) {
        SealedHeader.Invalid one = (SealedHeader.Invalid) copies.first();
        SealedHeader.Invalid two = (SealedHeader.Invalid) copies.second();
        tally.finding(
            entry.object(),
            (one.reason().compareTo(two.reason()) >= 0 ? one : two).message()
                + ": the file cannot be read",
            RESTORE);
        return;
      }
      damagedCopy(copies.first(), "first");
      damagedCopy(copies.second(), "second");
      byte[] clear = SealedFile.read(in, entry.size(), keys, ControlFile.LIMIT);
      if (clear != null) {
        content(clear);
      }
    }
  }

  /** No byte of content: the file is empty, or a power cut left its header at most. */
  private void empty() throws IOException {
    if (entry.size() != 0) {
      try (FileChannel in = Bytes.open(entry.path())) {
        byte[] header = SealedFile.header(in);
        readAll(in);
        if (SealedFile.isSealed(header) || Bytes.isZero(header, 0, header.length)) {
          tally.note(
              entry.object(),
              "its %d bytes hold a header at most: it reads as empty".formatted(entry.size()),
              "a power cut leaves such files; nothing need be done");
        } else {
          tally.finding(
              entry.object(),
              "its %d bytes are not the header of a sealed file".formatted(entry.size()),
              RESTORE);
        }
      }
    }
    content(new byte[0]);
  }

  private void damagedCopy(SealedHeader.Result copy, String which) {
    if (copy instanceof SealedHeader.Invalid i) {
      tally.finding(
          entry.object(),
          "the " + which + " copy of its header is damaged (" + i.message() + ")",
          "the other copy serves; copy the file in the mount and rename the copy over it");
    }
  }

  private void readAll(FileChannel in) throws IOException {
    byte[] b = new byte[(int) Math.min(256 * 1024, Math.max(1, entry.size()))];
    for (long offset = 0; offset < entry.size(); offset += b.length) {
      tally.done(Bytes.read(in, offset, b, b.length));
    }
  }

  /** What PostgreSQL itself relies on. */
  private void content(byte[] clear) {
    if (entry.object().equals("global/pg_control")) {
      if (!ControlFile.isRight(clear)) {
        tally.finding(
            entry.object(),
            "its CRC is wrong, or it is of no version from 14 to 18",
            RESTORE + ", or as a last resort run pg_resetwal on the mount");
      }
    } else if (entry.name().equals("PG_VERSION") && clear.length == 0) {
      tally.finding(entry.object(), "it is empty", RESTORE + OR_ABANDONED);
    } else if (entry.name().equals("pg_filenode.map")) {
      // 512 bytes up to PostgreSQL 15, 524 from 16 on; the CRC is at 504 or 520
      int crcAt = clear.length == 512 ? 504 : 520;
      if (clear.length < crcAt + 4 || !crcIsRight(clear, crcAt)) {
        tally.finding(entry.object(), "its CRC is wrong", RESTORE + OR_ABANDONED);
      }
    }
  }

  static boolean crcIsRight(byte[] b, int crcAt) {
    CRC32C crc = new CRC32C();
    crc.update(b, 0, crcAt);
    return (int) crc.getValue() == Bytes.getInt(b, crcAt);
  }
}
