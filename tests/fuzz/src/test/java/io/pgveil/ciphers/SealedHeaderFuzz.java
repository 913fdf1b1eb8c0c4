package io.pgveil.ciphers;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * The header of a sealed file. First byte of an input: 1 give the first copy a right MAC, 2 the
 * second one too, 4 the header is as long as it should be; then the header.
 */
public final class SealedHeaderFuzz {
  private static final byte[] SEAL_KEY = new byte[32];
  private static final byte[] UNKNOWN = new byte[16];

  private SealedHeaderFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) throws GeneralSecurityException {
    Bits bits = new Bits(input);
    int mode = bits.u8();
    byte[] header = bits.rest();
    if ((mode & 4) != 0) {
      header = Arrays.copyOf(header, SealedHeader.SIZE);
    }
    if ((mode & 1) != 0) {
      authenticate(header, 0);
    }
    if ((mode & 2) != 0) {
      authenticate(header, 3584);
    }
    byte[] before = header.clone();
    SealedHeader.Result result =
        SealedHeader.parse(header, id -> Arrays.equals(id, UNKNOWN) ? null : SEAL_KEY);
    Violation.unless(Arrays.equals(before, header), "parsing has written");
    switch (result) {
      case SealedHeader.Valid v -> {
        int at = v.copy() == 1 ? 0 : 3584;
        byte[] again = SealedHeader.create(v.header().sealKeyId(), v.header().fileId(), SEAL_KEY);
        Violation.unless(
            Arrays.equals(again, 0, 128, header, at, at + 128), "it is not what we would write");
        SealedKeys.fileKey(SEAL_KEY, v.header().cipher(), v.header().fileId());
      }
      case SealedHeader.Invalid i ->
          Violation.unless(!i.message().isBlank() && i.reason() != null, "no reason");
    }
  }

  private static void authenticate(byte[] header, int at) throws GeneralSecurityException {
    if (header.length >= at + 128) {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(SealedKeys.headerKey(SEAL_KEY), "HmacSHA256"));
      mac.update(header, at, 96);
      System.arraycopy(mac.doFinal(), 0, header, at + 96, 32);
    }
  }
}
