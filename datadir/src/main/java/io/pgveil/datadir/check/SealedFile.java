package io.pgveil.datadir.check;

import io.pgveil.ciphers.SealedCipher;
import io.pgveil.ciphers.SealedHeader;
import io.pgveil.ciphers.SealedKeys;
import io.pgveil.ciphers.SealedLayout;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.SealKeys;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Reads sealed files; see {@link SealedHeader} and {@link SealedLayout}. */
final class SealedFile {
  /** Bytes of each of the two copies in a header. */
  static final int COPY = 512;

  private SealedFile() {}

  /** Each of the two copies in a header, looked at by itself. */
  record Copies(SealedHeader.Result first, SealedHeader.Result second) {
    /** The header, null if both copies are bad. */
    @Nullable SealedHeader header() {
      if (first instanceof SealedHeader.Valid v) {
        return v.header();
      }
      return second instanceof SealedHeader.Valid v ? v.header() : null;
    }
  }

  /** The first 4096 bytes of a file, fewer if it has fewer. */
  static byte[] header(FileChannel file) throws IOException {
    byte[] header = new byte[SealedHeader.SIZE];
    return Arrays.copyOf(header, Bytes.read(file, 0, header, header.length));
  }

  /** Whether the bytes begin like a sealed file of any version. */
  static boolean isSealed(byte[] start) {
    return start.length >= 8
        && (Bytes.getLong(start, 0) & 0xFF_FFFF_FFFF_FFFFL) == 0x4C_4145_5356_4750L;
  }

  static Copies copies(byte[] header, SealKeys keys) throws KeyException {
    byte[] first = header.clone();
    byte[] second = header.clone();
    if (header.length == SealedHeader.SIZE) {
      Arrays.fill(first, SealedHeader.SIZE - COPY, SealedHeader.SIZE, (byte) 0);
      Arrays.fill(second, 0, COPY, (byte) 0);
    }
    return new Copies(parse(first, keys), parse(second, keys));
  }

  private static SealedHeader.Result parse(byte[] header, SealKeys keys) throws KeyException {
    // throws here and not inside the function, where only null could be given
    keys.activeId();
    List<byte[]> asked = new ArrayList<>();
    Function<byte[], byte @Nullable []> find =
        id -> {
          try {
            byte[] key = keys.copyKey(id);
            if (key != null) {
              asked.add(key);
            }
            return key;
          } catch (KeyException e) {
            return null;
          }
        };
    try {
      return SealedHeader.parse(header, find);
    } finally {
      asked.forEach(key -> Arrays.fill(key, (byte) 0));
    }
  }

  /**
   * The first clear bytes, at most {@code limit}; null if there is no header to read them by.
   *
   * @param size of the file on disk
   */
  static byte @Nullable [] read(FileChannel file, long size, SealKeys keys, int limit)
      throws IOException, KeyException {
    int length = (int) Math.min(limit, SealedLayout.clearLength(size));
    if (length == 0) {
      return new byte[0];
    }
    SealedHeader header = copies(header(file), keys).header();
    byte[] sealKey = header == null ? null : keys.copyKey(header.sealKeyId());
    if (header == null || sealKey == null) {
      return null;
    }
    byte[] fileKey = SealedKeys.fileKey(sealKey, header.cipher(), header.fileId());
    Arrays.fill(sealKey, (byte) 0);
    try (SealedCipher cipher = new SealedCipher(fileKey)) {
      int units = (int) SealedLayout.unitsFor(0, length);
      byte[] bytes = new byte[units * SealedLayout.UNIT];
      int got = Bytes.read(file, SealedLayout.HEADER, bytes, bytes.length);
      cipher.decrypt(0, bytes, 0, units, bytes, 0);
      return Arrays.copyOf(bytes, Math.min(length, got));
    } finally {
      Arrays.fill(fileKey, (byte) 0);
    }
  }
}
