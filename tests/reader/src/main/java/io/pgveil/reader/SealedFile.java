package io.pgveil.reader;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * A sealed file (notes A): header of 4096 bytes, units of 512 bytes under AES-256-XTS, slack. A
 * file of S bytes holds max(0, S - 4608) clear bytes; clear offset o is at 4096 + o.
 *
 * <pre>
 * 0      8  magic 50 47 56 53 45 41 4C 01
 * 8      1  cipher: 1 = AES-256-XTS
 * 9      1  log2 of the unit: 9
 * 10     2  flags: none is known
 * 12     4  offset of the data: 4096
 * 16     4  slack: 512
 * 20    12  zero
 * 32    16  seal key id
 * 48    16  file id
 * 64    32  zero
 * 96    32  HMAC-SHA-256(header key, bytes 0..95)
 * 128 3456  zero
 * 3584 512  a second copy of bytes 0..511
 * </pre>
 *
 * @param header empty when the file holds no data: then there may be none, or a part of one
 * @param clear the clear content
 * @param zeroUnits number of units that stand as raw zeros
 * @param tailClean whether the padding of the last unit and the slack are zeros; stale bytes are
 *     allowed after the file has shrunk
 */
public record SealedFile(
    String file, Optional<Header> header, Bytes clear, int zeroUnits, boolean tailClean) {
  private static final int DATA = 4096;
  private static final int SLACK = 512;
  private static final int UNIT = 512;
  private static final int SECOND_COPY = 3584;

  /**
   * The header.
   *
   * @param firstCopyRight whether the copy at 0 is valid; at least one is
   * @param secondCopyRight whether the copy at 3584 is valid
   */
  public record Header(
      int cipher,
      int log2Unit,
      int flags,
      Bytes sealKeyId,
      Bytes fileId,
      Bytes mac,
      boolean firstCopyRight,
      boolean secondCopyRight) {}

  public static SealedFile read(Path path, Map<Bytes, Secret> sealKeys) throws IOException {
    return parse(Source.of(path), sealKeys);
  }

  /**
   * Decrypts the whole file.
   *
   * @param sealKeys keys of 32 bytes by their ids
   */
  public static SealedFile parse(String file, byte[] content, Map<Bytes, Secret> sealKeys) {
    return parse(new Source(file, content), sealKeys);
  }

  private static SealedFile parse(Source in, Map<Bytes, Secret> sealKeys) {
    int length = Math.max(0, in.size() - DATA - SLACK);
    if (length == 0) {
      return new SealedFile(in.file(), Optional.empty(), Bytes.of(new byte[0]), 0, true);
    }
    Header header = header(in, sealKeys);
    byte[] fileKey =
        Aes.hkdfExpand(
            Objects.requireNonNull(sealKeys.get(header.sealKeyId)),
            concat(
                Aes.ascii("pgveil/sealed/1/xts"),
                new byte[] {0, (byte) header.cipher},
                header.fileId.toArray()),
            64);
    Secret dataKey = Secret.of(Arrays.copyOfRange(fileKey, 0, 32));
    Secret tweakKey = Secret.of(Arrays.copyOfRange(fileKey, 32, 64));
    in.require(!dataKey.equals(tweakKey), 0, "different XTS keys", "equal ones");

    int units = (length + UNIT - 1) / UNIT;
    byte[] padded = new byte[units * UNIT];
    int zeroUnits = 0;
    for (int unit = 0; unit < units; unit++) {
      byte[] sealed = in.array(DATA + unit * UNIT, UNIT);
      if (Source.isZero(sealed, 0, UNIT)) {
        zeroUnits++;
      } else {
        byte[] clear = Aes.xtsDecrypt(dataKey, tweakKey, unit, sealed);
        System.arraycopy(clear, 0, padded, unit * UNIT, UNIT);
      }
    }
    boolean tailClean =
        Source.isZero(padded, length, padded.length) && in.isZero(DATA + padded.length, in.size());
    return new SealedFile(
        in.file(),
        Optional.of(header),
        Bytes.of(Arrays.copyOf(padded, length)),
        zeroUnits,
        tailClean);
  }

  private static Header header(Source in, Map<Bytes, Secret> sealKeys) {
    boolean first = isRight(in, 0, sealKeys);
    boolean second = isRight(in, SECOND_COPY, sealKeys);
    if (!first && !second) {
      requireFields(in, 0);
      Bytes id = in.bytes(32, 16);
      in.require(sealKeys.containsKey(id), 32, "the id of a given seal key", id);
      throw in.violation(96, "the HMAC of bytes 0..95", in.bytes(96, 32));
    }
    int at = first ? 0 : SECOND_COPY;
    requireFields(in, at);
    if (first && second) {
      in.require(
          in.bytes(0, UNIT).equals(in.bytes(SECOND_COPY, UNIT)),
          SECOND_COPY,
          "a second copy equal to the first",
          "another one");
    }
    in.requireZero(UNIT, SECOND_COPY, "between the copies of the header");
    return new Header(
        in.array(at + 8, 1)[0],
        in.array(at + 9, 1)[0],
        in.u16(at + 10),
        in.bytes(at + 32, 16),
        in.bytes(at + 48, 16),
        in.bytes(at + 96, 32),
        first,
        second);
  }

  private static boolean isRight(Source in, int at, Map<Bytes, Secret> sealKeys) {
    Secret sealKey = sealKeys.get(in.bytes(at + 32, 16));
    if (sealKey == null) {
      return false;
    }
    byte[] headerKey = Aes.hkdfExpand(sealKey, Aes.ascii("pgveil/sealed/1/header"), 32);
    byte[] mac = Aes.hmac(Secret.of(headerKey), in.array(at, 96));
    return MessageDigest.isEqual(mac, in.array(at + 96, 32));
  }

  private static void requireFields(Source in, int at) {
    in.require(
        in.hex(at, 8).equals("50 47 56 53 45 41 4c 01"),
        at,
        "magic of a sealed file, 50 47 56 53 45 41 4c 01 (format 1)",
        in.hex(at, 8));
    in.require(in.hex(at + 8, 1).equals("01"), at + 8, "cipher 1", in.hex(at + 8, 1));
    in.require(in.hex(at + 9, 1).equals("09"), at + 9, "unit 2^9", in.hex(at + 9, 1));
    in.require(in.u16(at + 10) == 0, at + 10, "no flags", in.u16(at + 10));
    in.require(in.u32(at + 12) == DATA, at + 12, "data offset 4096", in.u32(at + 12));
    in.require(in.u32(at + 16) == SLACK, at + 16, "slack 512", in.u32(at + 16));
    in.requireZero(at + 20, at + 32, "header");
    in.requireZero(at + 64, at + 96, "header");
    in.requireZero(at + 128, at + UNIT, "header");
  }

  private static byte[] concat(byte[]... parts) {
    int length = 0;
    for (byte[] part : parts) {
      length += part.length;
    }
    ByteBuffer joined = ByteBuffer.allocate(length);
    for (byte[] part : parts) {
      joined.put(part);
    }
    return joined.array();
  }
}
