package io.pgveil.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WalKeysTest {
  @TempDir Path root;
  private Cluster cluster;

  @BeforeEach
  void make() throws KeyException {
    cluster = new Cluster(root).made();
    try (KeyDirectory d = cluster.open()) {
      Cluster.set(d, Scope.SERVER, "k1");
    }
  }

  private static WalRange append(KeyDirectory d, int tli, long lsn) throws KeyException {
    return d.walKeys().append(WalRange.Type.ENCRYPTED, CipherType.AES_128, tli, lsn);
  }

  @Test
  void rangesAreAppendedDurablyAndReadBack() throws KeyException {
    byte[] key;
    try (KeyDirectory d = cluster.open()) {
      assertThat(d.walKeys().ranges()).isEmpty();
      WalRange first = append(d, 1, 1);
      assertThat(first)
          .isEqualTo(new WalRange(0, WalRange.Type.ENCRYPTED, CipherType.AES_128, 1, 1));
      key = d.walKeys().key(first).copyKey();
      d.walKeys().append(WalRange.Type.UNENCRYPTED, CipherType.AES_256, 1, 0x100);
      append(d, 2, 0x50);
      assertThat(d.walKeys().count()).isEqualTo(3);
      byte[] file = cluster.content("wal_keys");
      assertThat(file).hasSize(320 + 3 * 104);
      assertThat(Hex.at(file, 424, 24))
          .isEqualTo("01000000" + "01000000" + "0001000000000000" + "0100000000000000");
    }
    try (KeyDirectory d = cluster.open()) {
      assertThat(d.walKeys().ranges())
          .extracting(WalRange::startLsn)
          .containsExactly(1L, 0x100L, 0x50L);
      assertThat(d.walKeys().key(d.walKeys().ranges().get(0)).copyKey()).isEqualTo(key);
      assertThat(d.walKeys().key(d.walKeys().ranges().get(0)))
          .isSameAs(d.walKeys().key(d.walKeys().ranges().get(0)));
    }
  }

  @Test
  void oneFsyncUnlessTheEntryLiesAcrossASectorBorder() throws KeyException {
    try (KeyDirectory d = cluster.open()) {
      for (int i = 0; i < 20; i++) {
        int at = 320 + 104 * i;
        long before = d.fsyncs();
        append(d, 1, 0x1000L * (i + 1));
        assertThat(d.fsyncs() - before)
            .as("entry %d", i)
            .isEqualTo(at / 512 == (at + 103) / 512 ? 1 : 2);
      }
    }
  }

  /** Whatever sectors of an append a power cut keeps, the ranges are the old ones or the new. */
  @Test
  void aTornAppendIsNeverTakenForARange() throws KeyException {
    List<Map<String, byte[]>> states = new ArrayList<>();
    int appends = 12;
    try (KeyDirectory d =
        cluster.open(
            (step, name) -> {
              if (step == DurableFiles.Step.FSYNC && name.equals("wal_keys")) {
                states.add(cluster.snapshot());
              }
            })) {
      states.add(cluster.snapshot());
      for (int i = 0; i < appends; i++) {
        append(d, 1, 0x1000L * (i + 1));
      }
    }
    int cuts = 0;
    for (int s = 1; s < states.size(); s++) {
      byte[] old = states.get(s - 1).get("wal_keys");
      byte[] next = states.get(s).get("wal_keys");
      int sectors = (next.length + 511) / 512;
      for (int kept = 0; kept < sectors; kept++) {
        // sectors before the last two are equal in both
        byte[] torn = next.clone();
        for (int i = kept * 512; i < Math.min(next.length, kept * 512 + 512); i++) {
          torn[i] = i < old.length ? old[i] : 0;
        }
        cluster.write("wal_keys", torn);
        try (KeyDirectory d = cluster.open()) {
          for (WalRange range : d.walKeys().ranges()) {
            assertThat(d.walKeys().key(range)).isNotNull();
          }
          append(d, 9, 1);
          assertThat(d.walKeys().key(d.walKeys().ranges().getLast())).isNotNull();
        }
        cuts++;
      }
    }
    assertThat(cuts).isGreaterThan(30);
  }

  @Test
  void aRangeThatALaterOneCoversBecomesInvalid() throws KeyException {
    try (KeyDirectory d = cluster.open()) {
      append(d, 1, 0x1000);
      append(d, 1, 0x2000);
      append(d, 1, 0x3000);
      // all WAL of two runs was lost: the next one begins where the second did
      append(d, 1, 0x2000);
      assertThat(d.walKeys().ranges()).extracting(WalRange::index).containsExactly(0, 3);
      byte[] file = cluster.content("wal_keys");
      assertThat(Bytes.getInt(file, 320 + 4)).isEqualTo(2);
      assertThat(Bytes.getInt(file, 320 + 104 + 4)).isZero();
      assertThat(Bytes.getInt(file, 320 + 208 + 4)).isZero();
      assertThat(Bytes.getInt(file, 320 + 312 + 4)).isEqualTo(2);

      Cluster.set(d, Scope.SERVER, "k2");
      assertThat(cluster.content("wal_keys")).as("carried over").hasSize(file.length);
      assertThat(Arrays.copyOfRange(cluster.content("wal_keys"), 424, 528))
          .isEqualTo(Arrays.copyOfRange(file, 424, 528));
    }
    try (KeyDirectory d = cluster.open()) {
      assertThat(d.walKeys().ranges()).extracting(WalRange::index).containsExactly(0, 3);
      for (WalRange range : d.walKeys().ranges()) {
        assertThat(d.walKeys().key(range)).isNotNull();
      }
    }
  }

  @Test
  void timelinesAndPositionsAreUnsigned() throws KeyException {
    try (KeyDirectory d = cluster.open()) {
      append(d, 1, 5);
      append(d, 1, -5);
      append(d, -1, 5);
      assertThat(d.walKeys().ranges()).hasSize(3);
      assertThatThrownBy(() -> append(d, 0, 5)).isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> append(d, 1, 0)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void withoutAnyPrincipalKeyNothingIsAppended() throws KeyException {
    Cluster bare = new Cluster(root.resolve("x"));
    root.resolve("x").toFile().mkdir();
    bare.made();
    try (KeyDirectory d = bare.open()) {
      assertThatThrownBy(() -> append(d, 1, 1))
          .hasMessageStartingWith("principal key not configured")
          .hasMessageContaining("pg_tde_set_server_key_using_global_key_provider()");
      assertThat(bare.snapshot()).doesNotContainKey("wal_keys");
    }
  }
}
