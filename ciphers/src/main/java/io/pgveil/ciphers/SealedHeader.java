package io.pgveil.ciphers;

import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.function.Function;
import javax.crypto.Mac;
import org.jspecify.annotations.Nullable;

/**
 * The header of a sealed file: which seal key and which file id its key is derived from. 4096
 * bytes, written once, before any data, and never changed. Little-endian:
 *
 * <pre>
 *   off   size
 *   0     8     magic 50 47 56 53 45 41 4C 01 ("PGVSEAL", format 1)
 *   8     1     cipher: 1 = AES-256-XTS
 *   9     1     log2(unit) = 9
 *   10    2     flags, 0
 *   12    4     data offset = 4096
 *   16    4     slack = 512
 *   20    12    zero
 *   32    16    seal-key id, random
 *   48    16    file id, random
 *   64    32    zero
 *   96    32    HMAC-SHA256(header key, bytes 0..95)
 *   128   3456  zero
 *   3584  512   second copy of bytes 0..511, in another sector; used if the first is damaged
 * </pre>
 *
 * <p>The MAC proves the seal key and the format, not the content of the file.
 */
public final class SealedHeader {
  /** Bytes of a header. */
  public static final int SIZE = SealedLayout.HEADER;

  /** The cipher number of {@link SealedCipher}. */
  public static final int AES_256_XTS = 1;

  private static final long MAGIC = 0x014C_4145_5356_4750L;
  private static final long MAGIC_WITHOUT_FORMAT = 0x00FF_FFFF_FFFF_FFFFL;
  private static final int KEY_ID = 32;
  private static final int FILE_ID = 48;
  private static final int MAC = 96;
  private static final int MAC_SIZE = 32;
  private static final int SECOND_COPY = 3584;
  private static final int COPY_SIZE = 512;

  private final byte[] sealKeyId;
  private final byte[] fileId;

  private SealedHeader(byte[] sealKeyId, byte[] fileId) {
    this.sealKeyId = sealKeyId;
    this.fileId = fileId;
  }

  /** The cipher number. */
  public int cipher() {
    return AES_256_XTS;
  }

  /** The 16-byte id of the seal key, a copy. */
  public byte[] sealKeyId() {
    return sealKeyId.clone();
  }

  /** The 16-byte id of the file, a copy. */
  public byte[] fileId() {
    return fileId.clone();
  }

  /** What {@link #parse} found. */
  public sealed interface Result {}

  /**
   * The header is authentic.
   *
   * @param copy 1, or 2 if the first copy is damaged
   */
  public record Valid(SealedHeader header, int copy) implements Result {}

  /**
   * Neither copy can be used.
   *
   * @param message one line for a log or an error, without secrets
   */
  public record Invalid(Reason reason, String message) implements Result {}

  /** Why a header cannot be used, the worst first. */
  public enum Reason {
    /** Fewer than 4096 bytes. */
    TRUNCATED,
    /** No magic: damaged, or not a sealed file. */
    NO_MAGIC,
    /** The header names a seal key that is not known. */
    UNKNOWN_SEAL_KEY,
    /** The MAC is wrong: damaged, or the seal key of that id has other bytes. */
    BAD_MAC,
    /** A format, cipher or flag of another version. */
    UNSUPPORTED
  }

  /**
   * Makes the 4096 bytes of a new header.
   *
   * @param sealKeyId 16 bytes
   * @param fileId 16 fresh random bytes: a file id is never used for a second file
   * @param sealKey 32 bytes; stays the caller's to clear
   */
  public static byte[] create(byte[] sealKeyId, byte[] fileId, byte[] sealKey) {
    SealedKeys.checkSize("seal-key id", sealKeyId, SealedKeys.ID);
    SealedKeys.checkSize("file id", fileId, SealedKeys.ID);
    byte[] header = new byte[SIZE];
    putFields(header, sealKeyId, fileId);
    System.arraycopy(mac(header, 0, sealKey), 0, header, MAC, MAC_SIZE);
    System.arraycopy(header, 0, header, SECOND_COPY, COPY_SIZE);
    return header;
  }

  /**
   * Checks a header read from disk.
   *
   * @param header the first 4096 bytes of the file
   * @param sealKeys gives the seal key (32 bytes) of an id (16 bytes), or null if there is none;
   *     the array it returns is only read and stays the function's to clear
   */
  public static Result parse(byte[] header, Function<byte[], byte @Nullable []> sealKeys) {
    if (header.length < SIZE) {
      return new Invalid(
          Reason.TRUNCATED, "sealed header has " + header.length + " bytes, want " + SIZE);
    }
    Result first = parseCopy(header, 0, 1, sealKeys);
    if (!(first instanceof Invalid one)) {
      return first;
    }
    Result second = parseCopy(header, SECOND_COPY, 2, sealKeys);
    if (!(second instanceof Invalid two)) {
      return second;
    }
    // The copy that got further says more.
    return one.reason.compareTo(two.reason) >= 0 ? one : two;
  }

  private static Result parseCopy(
      byte[] header, int at, int copy, Function<byte[], byte @Nullable []> sealKeys) {
    long magic = Bytes.getLong(header, at);
    if (((magic ^ MAGIC) & MAGIC_WITHOUT_FORMAT) != 0) {
      return new Invalid(Reason.NO_MAGIC, "sealed header has no magic");
    }
    if (magic != MAGIC) {
      return new Invalid(
          Reason.UNSUPPORTED, "sealed header has format " + (magic >>> 56) + ", this is 1");
    }
    byte[] sealKeyId = Arrays.copyOfRange(header, at + KEY_ID, at + KEY_ID + SealedKeys.ID);
    byte[] fileId = Arrays.copyOfRange(header, at + FILE_ID, at + FILE_ID + SealedKeys.ID);
    byte[] sealKey = sealKeys.apply(sealKeyId.clone());
    if (sealKey == null) {
      return new Invalid(
          Reason.UNKNOWN_SEAL_KEY,
          "sealed header names the unknown seal key " + HexFormat.of().formatHex(sealKeyId));
    }
    if (!MessageDigest.isEqual(
        mac(header, at, sealKey), Arrays.copyOfRange(header, at + MAC, at + MAC + MAC_SIZE))) {
      return new Invalid(
          Reason.BAD_MAC,
          "sealed header does not match the seal key " + HexFormat.of().formatHex(sealKeyId));
    }
    byte[] expected = new byte[MAC];
    putFields(expected, sealKeyId, fileId);
    if (!Arrays.equals(header, at, at + MAC, expected, 0, MAC)) {
      return new Invalid(
          Reason.UNSUPPORTED, "sealed header has a cipher, size or flag of a later version");
    }
    return new Valid(new SealedHeader(sealKeyId, fileId), copy);
  }

  private static void putFields(byte[] header, byte[] sealKeyId, byte[] fileId) {
    Bytes.putLong(header, 0, MAGIC);
    header[8] = AES_256_XTS;
    header[9] = (byte) Integer.numberOfTrailingZeros(SealedLayout.UNIT);
    Bytes.putInt(header, 12, SealedLayout.HEADER);
    Bytes.putInt(header, 16, SealedLayout.SLACK);
    System.arraycopy(sealKeyId, 0, header, KEY_ID, SealedKeys.ID);
    System.arraycopy(fileId, 0, header, FILE_ID, SealedKeys.ID);
  }

  private static byte[] mac(byte[] header, int at, byte[] sealKey) {
    byte[] headerKey = SealedKeys.headerKey(sealKey);
    try (Aes.Key key = new Aes.Key("HmacSHA256", headerKey)) {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(key);
      mac.update(header, at, MAC);
      return mac.doFinal();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("HmacSHA256 is not available in this Java runtime", e);
    } finally {
      Arrays.fill(headerKey, (byte) 0);
    }
  }
}
