package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.ciphers.WalCipher;
import io.pgveil.keys.InternalKey;
import io.pgveil.keys.WalRange;
import io.pgveil.linux.Memory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/**
 * Watches every word that reaches a WAL segment file: under one key and position no two different
 * clear words may ever be stored if one of them is zero, for then the keystream itself was on the
 * disk (hazard 4).
 */
final class WalLeaks {
  private final Cluster c;
  private final int segmentSize;
  private final Map<String, Map<Long, Long>> stored = new HashMap<>();
  private final Map<Integer, WalCipher> ciphers = new HashMap<>();

  /** Different clear words, none zero, under one key and position. */
  int overwritten;

  WalLeaks(Cluster c, int segmentSize) {
    this.c = c;
    this.segmentSize = segmentSize;
    c.backing.before = this::check;
  }

  private WalCipher cipher(WalRange r) {
    return ciphers.computeIfAbsent(
        r.index(),
        i -> {
          try {
            InternalKey k = c.keys.walKeys().key(r);
            return new WalCipher(k.copyKey(), k.copyBaseIv());
          } catch (io.pgveil.keys.KeyException e) {
            throw new IllegalStateException(e);
          }
        });
  }

  WalRange governing(int tli, long lsn) {
    try {
      WalRange found = null;
      for (WalRange r : c.keys.walKeys().ranges()) {
        if (r.tli() < tli || (r.tli() == tli && r.startLsn() <= lsn)) {
          found = r;
        }
      }
      return found;
    } catch (io.pgveil.keys.KeyException e) {
      throw new IllegalStateException(e);
    }
  }

  /** What pg_tde would read: every byte of an ENCRYPTED range XORed. */
  byte[] plainXor(String name, byte[] stored, int from, int size) {
    WalFileName f = WalFileName.parse(name);
    byte[] out = new byte[size];
    byte[] stream = new byte[8];
    long segno = f.segmentNumber(segmentSize);
    for (int i = 0; i < size; i += 8) {
      WalRange r = governing(f.timeline(), segno * segmentSize + from + i);
      boolean encrypted = r != null && r.type() == WalRange.Type.ENCRYPTED;
      if (encrypted) {
        cipher(r).keystream(f.timeline(), segno, from + i, stream, 0, 8);
      }
      for (int j = 0; j < 8 && i + j < size; j++) {
        out[i + j] = (byte) (stored[from + i + j] ^ (encrypted ? stream[j] : 0));
      }
    }
    return out;
  }

  private void check(RecordingBacking.Call call) {
    String name = call.path().substring(call.path().lastIndexOf('/') + 1);
    WalFileName f = WalFileName.parse(name);
    if (!call.what().equals("pwrite") || f == null) {
      return;
    }
    byte[] b = call.bytes();
    ByteBuffer words = ByteBuffer.wrap(b).order(ByteOrder.LITTLE_ENDIAN);
    long segno = f.segmentNumber(segmentSize);
    byte[] stream = new byte[8];
    for (int i = (int) (-call.offset() & 7); i + 8 <= b.length; i += 8) {
      long at = call.offset() + i;
      long word = words.getLong(i);
      WalRange r = governing(f.timeline(), segno * segmentSize + at);
      if (word == 0 || r == null || r.type() != WalRange.Type.ENCRYPTED) {
        continue;
      }
      cipher(r).keystream(f.timeline(), segno, at, stream, 0, 8);
      long clear = word ^ ByteBuffer.wrap(stream).order(ByteOrder.LITTLE_ENDIAN).getLong();
      Long old =
          stored
              .computeIfAbsent(r.index() + "/" + f.timeline() + "/" + segno, k -> new HashMap<>())
              .put(at, clear);
      if (old != null && old != clear) {
        assertThat(old != 0 && clear != 0)
            .as("%s at %d: keystream of range %d was on the disk", call, at, r.index())
            .isTrue();
        overwritten++;
      }
    }
  }

  static boolean isZeroPage(byte[] b, int at) {
    return Memory.isZero(b, at, WalPages.PAGE);
  }
}
