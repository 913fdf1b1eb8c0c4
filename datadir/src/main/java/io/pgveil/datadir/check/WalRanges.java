package io.pgveil.datadir.check;

import io.pgveil.ciphers.WalCipher;
import io.pgveil.ciphers.WalCodec;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.WalKeys;
import io.pgveil.keys.WalRange;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Which WAL range governs which byte, and decoding under it. For one thread. */
final class WalRanges implements AutoCloseable {
  private final WalKeys keys;
  private final List<WalRange> ranges;
  private final Map<Integer, WalCipher> ciphers = new HashMap<>();

  WalRanges(WalKeys keys) throws KeyException {
    this.keys = keys;
    this.ranges = keys.ranges();
  }

  /** The last range that begins at or before the location; null for none, then it is clear. */
  @Nullable WalRange governing(int tli, long lsn) {
    for (WalRange r : ranges.reversed()) {
      int c = Integer.compareUnsigned(r.tli(), tli);
      if (c < 0 || (c == 0 && Long.compareUnsigned(r.startLsn(), lsn) <= 0)) {
        return r;
      }
    }
    return null;
  }

  /** Where the stretch of one range that holds {@code lsn} ends, at most {@code limit}. */
  long stretchEnd(int tli, long lsn, long limit) {
    long end = limit;
    for (WalRange r : ranges) {
      if (r.tli() == tli
          && Long.compareUnsigned(r.startLsn(), lsn) > 0
          && Long.compareUnsigned(r.startLsn(), end) < 0) {
        end = r.startLsn();
      }
    }
    return end;
  }

  /** Whether a byte of the page at {@code lsn} is encrypted. */
  boolean isEncrypted(int tli, long lsn) {
    long limit = lsn + WalPageHeader.PAGE;
    for (long at = lsn; at != limit; at = stretchEnd(tli, at, limit)) {
      WalRange r = governing(tli, at);
      if (r != null && r.type() == WalRange.Type.ENCRYPTED) {
        return true;
      }
    }
    return false;
  }

  /**
   * Decodes {@code b[0, n)} in place.
   *
   * @param tli at most 65535
   * @param offset in the segment, a multiple of 8
   */
  void decode(int tli, long segmentNumber, int segmentSize, long offset, byte[] b, int n)
      throws KeyException {
    long base = segmentNumber * segmentSize;
    long limit = base + offset + n;
    for (long at = base + offset; at != limit; ) {
      long end = stretchEnd(tli, at, limit);
      WalRange r = governing(tli, at);
      if (r != null && r.type() == WalRange.Type.ENCRYPTED) {
        int i = (int) (at - base - offset);
        new WalCodec(cipher(r)).decode(tli, segmentNumber, at - base, b, i, (int) (end - at), b, i);
      }
      at = end;
    }
  }

  private WalCipher cipher(WalRange range) throws KeyException {
    WalCipher cipher = ciphers.get(range.index());
    if (cipher == null) {
      InternalKey key = keys.key(range);
      byte[] bytes = key.copyKey();
      cipher = new WalCipher(bytes, key.copyBaseIv());
      Arrays.fill(bytes, (byte) 0);
      ciphers.put(range.index(), cipher);
    }
    return cipher;
  }

  @Override
  public void close() {
    ciphers.values().forEach(WalCipher::close);
  }
}
