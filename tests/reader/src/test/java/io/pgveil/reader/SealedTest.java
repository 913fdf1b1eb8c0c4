package io.pgveil.reader;

import static io.pgveil.reader.Golden.counting;
import static io.pgveil.reader.Golden.flipped;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** pgveil's own formats, on golden files that another implementation made. */
class SealedTest {
  private static final Secret SERVER_KEY = Secret.of(counting(0x40, 16));
  private static final Bytes READ_ONLY = Bytes.of(counting(0x10, 16));
  private static final Bytes ACTIVE = Bytes.of(counting(0x20, 16));

  private static SealFile sealFile(byte[] content) {
    return SealFile.parse("pgveil.seal", content);
  }

  private static Map<Bytes, Secret> sealKeys() throws IOException {
    return sealFile(Golden.bytes("sealed/pgveil.seal")).unwrapAll(SERVER_KEY);
  }

  private static byte[] clear(int length) {
    byte[] clear = new byte[length];
    for (int i = 0; i < length; i++) {
      clear[i] = (byte) (i / 512 == 1 ? 0 : (7 * i + 3) % 251);
    }
    return clear;
  }

  @Test
  void sealKeyFile() throws IOException {
    SealFile file = sealFile(Golden.bytes("sealed/pgveil.seal"));
    assertThat(file.keyInfo().name()).isEqualTo("golden-server-key");
    assertThat(file.keyInfo().isSignedBy(SERVER_KEY)).isTrue();
    assertThat(file.isWholeUnder(SERVER_KEY)).isTrue();
    assertThat(file.entries()).extracting(SealFile.Entry::keyId).containsExactly(READ_ONLY, ACTIVE);
    assertThat(file.entries())
        .extracting(SealFile.Entry::state)
        .containsExactly(SealFile.State.READ_ONLY, SealFile.State.ACTIVE);
    assertThat(file.entries().getFirst().created()).isEqualTo(1700000002);
    assertThat(file.unwrapAll(SERVER_KEY))
        .containsEntry(READ_ONLY, Secret.of(counting(0x80, 32)))
        .containsEntry(ACTIVE, Secret.of(counting(0xa0, 32)));
  }

  @Test
  void changedSealKeyFile() throws IOException {
    byte[] content = Golden.bytes("sealed/pgveil.seal");
    // Creation time, wrapped key, tag: the entry no longer unwraps, the whole no longer fits.
    for (int at : new int[] {320 + 24, 320 + 64, 320 + 48}) {
      SealFile changed = sealFile(flipped(content, at));
      assertThat(changed.isWholeUnder(SERVER_KEY)).isFalse();
      assertThatExceptionOfType(FormatViolation.class)
          .isThrownBy(() -> changed.unwrapAll(SERVER_KEY))
          .withMessageContaining("offset 320");
    }
    byte[] dropped = Arrays.copyOf(content, content.length - 128);
    System.arraycopy(content, 448, dropped, 320, 160);
    dropped[4] = 1;
    assertThat(sealFile(dropped).isWholeUnder(SERVER_KEY)).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "0, magic",
    "4, size",
    "8, database OID 1664",
    "336, purpose",
    "340, state",
    "420, zeros",
  })
  void malformedSealKeyFile(int at, String expected) throws IOException {
    byte[] content = Golden.bytes("sealed/pgveil.seal");
    content[at] ^= 0x40;
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> sealFile(content))
        .withMessageContaining("offset " + at + ":")
        .withMessageContaining(expected);
  }

  @Test
  void exactlyOneActiveSealKey() throws IOException {
    byte[] content = Golden.bytes("sealed/pgveil.seal");
    content[320 + 20] = 1;
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> sealFile(content))
        .withMessageContaining("exactly one active key, found 2");
  }

  @ParameterizedTest
  @CsvSource({"active-1500, 1500, 1", "read-only-300, 300, 0"})
  void sealedFiles(String name, int length, int zeroUnits) throws IOException {
    SealedFile file = SealedFile.parse(name, Golden.bytes("sealed/" + name), sealKeys());
    assertThat(file.clear()).isEqualTo(Bytes.of(clear(length)));
    assertThat(file.zeroUnits()).isEqualTo(zeroUnits);
    assertThat(file.tailClean()).isTrue();
    SealedFile.Header header = file.header().orElseThrow();
    assertThat(header.cipher()).isEqualTo(1);
    assertThat(header.sealKeyId()).isEqualTo(name.startsWith("active") ? ACTIVE : READ_ONLY);
    assertThat(header.firstCopyRight()).isTrue();
    assertThat(header.secondCopyRight()).isTrue();
  }

  /** One torn copy of the header is survived, two are not. */
  @Test
  void tornHeader() throws IOException {
    byte[] content = Golden.bytes("sealed/active-1500");
    byte[] torn = content.clone();
    Arrays.fill(torn, 0, 512, (byte) 0);
    SealedFile second = SealedFile.parse("f", torn, sealKeys());
    assertThat(second.clear()).isEqualTo(Bytes.of(clear(1500)));
    assertThat(second.header().orElseThrow().firstCopyRight()).isFalse();
    byte[] changed = flipped(content, 3584 + 50);
    assertThat(SealedFile.parse("f", changed, sealKeys()).header().orElseThrow().secondCopyRight())
        .isFalse();
    byte[] both = flipped(changed, 50);
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> SealedFile.parse("f", both, sealKeys()))
        .withMessageContaining("HMAC");
  }

  @Test
  void unknownFormatAndUnknownKey() throws IOException {
    byte[] newer = Golden.bytes("sealed/active-1500");
    newer[7] = 2;
    newer[3584 + 7] = 2;
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> SealedFile.parse("f", newer, sealKeys()))
        .withMessageContaining("found 50 47 56 53 45 41 4c 02");
    assertThatExceptionOfType(FormatViolation.class)
        .isThrownBy(() -> SealedFile.parse("f", Golden.bytes("sealed/active-1500"), Map.of()))
        .withMessageContaining("the id of a given seal key, found " + ACTIVE);
  }

  /** Stale bytes behind the end, as a shrunken file has them, are told but are no content. */
  @Test
  void shrunkenFile() throws IOException {
    byte[] shrunken = Arrays.copyOf(Golden.bytes("sealed/active-1500"), 4608 + 100);
    SealedFile file = SealedFile.parse("f", shrunken, sealKeys());
    assertThat(file.clear()).isEqualTo(Bytes.of(clear(100)));
    assertThat(file.tailClean()).isFalse();
  }

  /** Up to 4608 bytes a file is empty: a header, or what a power cut left of one. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 4096, 4608})
  void emptyFile(int size) throws IOException {
    SealedFile file = SealedFile.parse("f", new byte[size], sealKeys());
    assertThat(file.clear().size()).isZero();
    assertThat(file.header()).isEmpty();
  }
}
