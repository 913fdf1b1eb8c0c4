package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.zip.CRC32C;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WalPageTest {
  private static final int CONTRECORD = 1;
  private static final int LONG = 2;

  /**
   * Pages that a pg_tde server wrote. The record end is from pg_tde's own listing of the segment:
   * the shutdown checkpoint that ends the WAL; 77 records, of which a 78th goes on to the next
   * page.
   */
  @ParameterizedTest
  @CsvSource({
    "00000001000000000000000E,C0000,528,"
        + "d28491932f2d891ef5a31f020caab5194a4236f651d9226bb711f7da4a367866",
    "00000001000000000000000C,00000,7464,"
        + "902216db52335bcc6527960aad14b0efab31211e12a0b4913c31e58d55957780",
  })
  void findsTheRecordEndOfRealPages(String segment, String offset, int end, String sha) {
    byte[] page = Testing.resource("wal-" + segment + "-" + offset + ".bin");
    long segno = Long.parseLong(segment.substring(16), 16);
    try (WalCipher cipher = realCipher(segment)) {
      new WalCodec(cipher).decode(1, segno, Long.parseLong(offset, 16), page, 0, 8192, page, 0);
    }
    assertThat(Testing.sha256(page)).isEqualTo(sha);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(end);
  }

  /** The (throw-away) keys of the ranges that begin at 0/AEC000 and at 0/D48000. */
  static WalCipher realCipher(String segment) {
    return segment.endsWith("0C")
        ? new WalCipher(
            Testing.hex("5228b6ef61e6eef2f5933ffbd8485ed8"),
            Testing.hex("2dcf7b95770b861f78816ebab3c0c9ab"))
        : new WalCipher(
            Testing.hex("a60c19440770b1039cd0e72086200539"),
            Testing.hex("cea3093188bd69998bec191a0bc40355"));
  }

  @Test
  void aPageWithoutAHeaderHasNoRecords() {
    assertThat(WalPage.recordEnd(new byte[WalPage.SIZE], 0)).isZero();
  }

  @Test
  void aPageWithoutRecordsEndsBehindItsHeader() {
    assertThat(WalPage.recordEnd(page(0, 0), 0)).isEqualTo(24);
    assertThat(WalPage.recordEnd(page(LONG, 0), 0)).isEqualTo(40);
  }

  @Test
  void aContinuedRecordCountsIfItEndsHere() {
    assertThat(WalPage.recordEnd(page(CONTRECORD, 5), 0)).isEqualTo(32);
    assertThat(WalPage.recordEnd(page(CONTRECORD | LONG, 16), 0)).isEqualTo(56);
    assertThat(WalPage.recordEnd(page(CONTRECORD, 8192 - 24), 0)).isEqualTo(8192);
    assertThat(WalPage.recordEnd(page(CONTRECORD, 8192 - 24 + 1), 0)).isEqualTo(24);
    assertThat(WalPage.recordEnd(page(CONTRECORD, -1), 0)).isEqualTo(24);
    assertThat(WalPage.recordEnd(page(0, 5), 0)).as("length without the flag").isEqualTo(24);
  }

  @Test
  void stopsAtTheFirstIncompleteRecord() {
    byte[] page = page(CONTRECORD, 5);
    int second = putRecord(page, 32, 114);
    int third = putRecord(page, second, 24);
    int end = putRecord(page, third, 1000);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(end);
    page[third + 999] ^= 1;
    assertThat(WalPage.recordEnd(page, 0)).as("a byte still missing").isEqualTo(third);
    page[third + 999] ^= 1;
    page[second + 8] ^= 1;
    assertThat(WalPage.recordEnd(page, 0)).as("header bytes are in the CRC").isEqualTo(second);
  }

  @Test
  void aRecordMayEndWithThePageButNotBehindIt() {
    byte[] page = page(0, 0);
    assertThat(putRecord(page, 24, 8192 - 24)).isEqualTo(8192);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(8192);
    Bytes.putInt(page, 24, 8192 - 24 + 1);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(24);
    Bytes.putInt(page, 24, -1);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(24);
    Bytes.putInt(page, 24, 23);
    assertThat(WalPage.recordEnd(page, 0)).isEqualTo(24);
    page = page(CONTRECORD, 8192 - 24 - 24);
    putRecord(page, 8192 - 24, 24);
    assertThat(WalPage.recordEnd(page, 0)).as("the shortest record").isEqualTo(8192);
    page = page(CONTRECORD, 8192 - 24 - 16);
    Bytes.putInt(page, 8192 - 16, 100);
    assertThat(WalPage.recordEnd(page, 0)).as("header cut by the page").isEqualTo(8192 - 16);
  }

  @Property(tries = 300)
  void anyBytesGiveAMultipleOf8OnThePage(@ForAll @Size(64) byte[] head, @ForAll boolean dense) {
    byte[] page = new byte[WalPage.SIZE + 8];
    for (int i = 0; i < (dense ? WalPage.SIZE : 64); i++) {
      page[8 + i] = head[i % 64];
    }
    assertThat(WalPage.recordEnd(page, 8)).isBetween(0, WalPage.SIZE);
    assertThat(WalPage.recordEnd(page, 8) % 8).isZero();
  }

  @Test
  void onlyTheLastOfSeveralPagesMayBeIncomplete() {
    byte[] three = new byte[1 + 3 * WalPage.SIZE];
    byte[] last = page(0, 0);
    putRecord(last, 24, 100);
    System.arraycopy(last, 0, three, 1 + 2 * WalPage.SIZE, WalPage.SIZE);
    assertThat(WalPage.exactBytes(5 * 8192, three, 1, 3 * 8192)).isEqualTo(2 * 8192 + 128);
    assertThat(WalPage.exactBytes(5 * 8192 + 8, three, 1, 3 * 8192)).isEqualTo(3 * 8192);
    assertThat(WalPage.exactBytes(5 * 8192, three, 1, 8200)).isEqualTo(8200);
    assertThat(WalPage.exactBytes(0, three, 1, 0)).isZero();
  }

  static byte[] page(int info, int remaining) {
    byte[] page = new byte[WalPage.SIZE];
    Bytes.putInt(page, 0, 0xD118 | info << 16);
    Bytes.putInt(page, 16, remaining);
    return page;
  }

  /** Puts a record of {@code length} bytes with a right CRC; returns where the next one begins. */
  static int putRecord(byte[] page, int at, int length) {
    for (int i = 4; i < length; i++) {
      page[at + i] = (byte) (i * 31 + at);
    }
    Bytes.putInt(page, at, length);
    CRC32C crc = new CRC32C();
    crc.update(page, at + 24, length - 24);
    crc.update(page, at, 20);
    Bytes.putInt(page, at + 20, (int) crc.getValue());
    return (at + length + 7) & -8;
  }
}
