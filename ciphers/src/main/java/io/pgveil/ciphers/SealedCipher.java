package io.pgveil.ciphers;

import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Objects;

/**
 * Encrypts the units of one sealed file: AES-256-XTS (IEEE 1619, NIST SP 800-38E) over each unit of
 * 512 bytes, the tweak being the unit's number as 16 bytes little-endian.
 *
 * <p><b>Zero rule.</b> A unit of 512 zero bytes on disk is a hole and reads as zeros. Encryption
 * knows no exception: clear zeros are encrypted too, and a unit that comes out as zeros is
 * reported.
 *
 * <p>What XTS shows to who has two versions of a unit: which of its 16-byte blocks are equal. It
 * does not authenticate: a unit can be replayed, zeroed or garbled in steps of 16 bytes.
 */
public final class SealedCipher implements AutoCloseable {
  /** Bytes of a file key: 32 for data, then 32 for tweaks. */
  public static final int KEY_SIZE = 64;

  private static final int UNIT = SealedLayout.UNIT;

  /** Units per AES call. */
  private static final int RUN = 16;

  private final Aes encrypt;
  private final Aes decrypt;
  private final Aes tweak;
  private final byte[] numbers = new byte[RUN * Aes.BLOCK];
  private final byte[] seeds = new byte[RUN * Aes.BLOCK];
  private final byte[] tweaks = new byte[RUN * UNIT];
  private final byte[] scratch = new byte[RUN * UNIT];

  /**
   * @param fileKey 64 bytes from {@link SealedKeys#fileKey}, copied; equal halves are refused,
   *     because they void the proof of XTS
   */
  public SealedCipher(byte[] fileKey) {
    SealedKeys.checkSize("file key", fileKey, KEY_SIZE);
    byte[] dataKey = Arrays.copyOfRange(fileKey, 0, KEY_SIZE / 2);
    byte[] tweakKey = Arrays.copyOfRange(fileKey, KEY_SIZE / 2, KEY_SIZE);
    try {
      if (MessageDigest.isEqual(dataKey, tweakKey)) {
        throw new IllegalArgumentException("the halves of the file key are equal");
      }
      encrypt = Aes.ecbEncrypt(dataKey);
      decrypt = Aes.ecbDecrypt(dataKey);
      tweak = Aes.ecbEncrypt(tweakKey);
    } finally {
      Arrays.fill(dataKey, (byte) 0);
      Arrays.fill(tweakKey, (byte) 0);
    }
  }

  /**
   * Encrypts {@code units} whole units.
   *
   * @param firstUnit number of the first one, 0 or more
   * @return false if a unit came out as 512 zero bytes (chance 2<sup>-4096</sup>), which would read
   *     as a hole: the write has to fail
   */
  public boolean encrypt(long firstUnit, byte[] in, int off, int units, byte[] out, int outOff) {
    check(firstUnit, in, off, units, out, outOff);
    boolean ok = true;
    for (int done = 0; done < units; ) {
      int n = Math.min(RUN, units - done);
      int to = outOff + done * UNIT;
      xts(encrypt, firstUnit + done, in, off + done * UNIT, n, out, to);
      for (int i = 0; i < n; i++) {
        ok &= !Bytes.isZero(out, to + i * UNIT, UNIT);
      }
      done += n;
    }
    return ok;
  }

  /** Decrypts {@code units} whole units; a unit of zeros stays zeros. */
  public void decrypt(long firstUnit, byte[] in, int off, int units, byte[] out, int outOff) {
    check(firstUnit, in, off, units, out, outOff);
    for (int done = 0; done < units; ) {
      int n = Math.min(RUN, units - done);
      int from = off + done * UNIT;
      int to = outOff + done * UNIT;
      // Bit i: unit i of the run is a hole. Taken before the run is overwritten in place.
      int holes = 0;
      for (int i = 0; i < n; i++) {
        if (Bytes.isZero(in, from + i * UNIT, UNIT)) {
          holes |= 1 << i;
        }
      }
      if (Integer.bitCount(holes) < n) {
        xts(decrypt, firstUnit + done, in, from, n, out, to);
      }
      for (int i = 0; i < n; i++) {
        if ((holes & 1 << i) != 0) {
          Arrays.fill(out, to + i * UNIT, to + (i + 1) * UNIT, (byte) 0);
        }
      }
      done += n;
    }
  }

  private static void check(long firstUnit, byte[] in, int off, int units, byte[] out, int outOff) {
    if (firstUnit < 0 || units < 0 || units > Integer.MAX_VALUE / UNIT) {
      throw new IllegalArgumentException("units " + firstUnit + " + " + units);
    }
    Objects.checkFromIndexSize(off, units * UNIT, in.length);
    Objects.checkFromIndexSize(outOff, units * UNIT, out.length);
  }

  /** C = AES(P XOR T) XOR T over at most {@link #RUN} units. */
  private void xts(Aes aes, long firstUnit, byte[] in, int off, int units, byte[] out, int outOff) {
    int size = units * UNIT;
    for (int i = 0; i < units; i++) {
      Bytes.putLong(numbers, i * Aes.BLOCK, firstUnit + i);
    }
    tweak.run(numbers, 0, units * Aes.BLOCK, seeds, 0);
    for (int i = 0; i < units; i++) {
      xorTweaks(i, in, off);
    }
    aes.run(scratch, 0, size, out, outOff);
    Bytes.xor(out, outOff, tweaks, 0, out, outOff, size);
  }

  /**
   * Makes the tweaks of unit {@code i} of a run and XORs them into its bytes, from {@code in} to
   * scratch. The tweak of block j is AES(tweak key, unit number) times x^j in GF(2^128).
   */
  private void xorTweaks(int i, byte[] in, int off) {
    long low = Bytes.getLong(seeds, i * Aes.BLOCK);
    long high = Bytes.getLong(seeds, i * Aes.BLOCK + 8);
    for (int p = i * UNIT; p < (i + 1) * UNIT; p += Aes.BLOCK) {
      Bytes.putLong(tweaks, p, low);
      Bytes.putLong(tweaks, p + 8, high);
      Bytes.putLong(scratch, p, Bytes.getLong(in, off + p) ^ low);
      Bytes.putLong(scratch, p + 8, Bytes.getLong(in, off + p + 8) ^ high);
      long reduction = high >> 63 & 0x87;
      high = high << 1 | low >>> 63;
      low = low << 1 ^ reduction;
    }
  }

  @Override
  public void close() {
    encrypt.close();
    decrypt.close();
    tweak.close();
    Arrays.fill(seeds, (byte) 0);
    Arrays.fill(tweaks, (byte) 0);
    Arrays.fill(scratch, (byte) 0);
  }
}
