package io.pgveil.datadir;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.ciphers.PageCipher;
import io.pgveil.ciphers.SealedCipher;
import io.pgveil.ciphers.SealedHeader;
import io.pgveil.ciphers.SealedKeys;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Each content kind behaves like a plain file under random reads, writes, truncations and
 * allocations (hazard 8: halves, odd offsets, files that end anywhere), and again after reopening.
 */
class ContentModelTest {
  enum Kind {
    RELATION,
    SEALED,
    WAL_TEMPORARY
  }

  private static final int LIMIT = 60_000;

  @TempDir Path dir;

  private final Backing backing = new Backing();
  private final byte[] key = new byte[64];
  private final byte[] sealId = new byte[16];
  private final byte[] sealKey = new byte[32];

  private Content open(Kind kind, int fd, long size, @Nullable Content before) {
    new Random(5).nextBytes(key);
    new Random(6).nextBytes(sealKey);
    return switch (kind) {
      case RELATION ->
          new RelationContent(
              backing,
              fd,
              size,
              new RelationFile(1663, 5, 16384, -1, 0, 0),
              new PageKeys(),
              new DeferredPages.Budget(100_000, () -> {}));
      case SEALED ->
          new SealedContent(
              backing,
              fd,
              size,
              "f",
              true,
              new SealedContent.Keys() {
                @Override
                public SealedContent.NewFile newFile() {
                  byte[] fileId = new byte[16];
                  new Random().nextBytes(fileId);
                  return new SealedContent.NewFile(
                      SealedHeader.create(sealId, fileId, sealKey),
                      SealedKeys.fileKey(sealKey, SealedHeader.AES_256_XTS, fileId));
                }

                @Override
                public byte[] fileKey(byte[] header) throws DataDirectoryException {
                  return DataDirectory.fileKey(header, id -> sealKey.clone(), "key");
                }
              });
      case WAL_TEMPORARY ->
          before != null
              ? before
              : new WalTemporaryContent(
                  backing,
                  fd,
                  size,
                  new CipherPool<>(() -> new SealedCipher(key.clone()), () -> {}),
                  true);
    };
  }

  private final class PageKeys implements RelationContent.Keys {
    private boolean durable;

    private CipherPool<PageCipher> pool() {
      return new CipherPool<>(
          () -> new PageCipher(Arrays.copyOf(key, 16), Arrays.copyOfRange(key, 16, 32)), () -> {});
    }

    @Override
    public CipherPool<PageCipher> find() {
      return pool();
    }

    @Override
    public CipherPool<PageCipher> create() {
      return pool();
    }

    @Override
    public boolean isDurable() {
      return durable;
    }

    @Override
    public void makeDurable() {
      durable = true;
    }
  }

  /**
   * Seen failing: the read in RelationContent.loadIfPartial, the clean tail in
   * SealedContent.prepareGrowth, the tail in WalTemporaryContent.readUnits; each the kind that it
   * is of, within nine steps.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void hazard8BehavesLikeAPlainFile(Kind kind) {
    for (int seed = 1; seed <= 40; seed++) {
      run(kind, seed);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 511, 512, 513, 4096, 8191, 8193, 20_000})
  void sealedSizesOnDiskFollowFromTheClearLength(int n) {
    int fd = Posix.open(dir.resolve("s").toString(), Posix.O_CREAT | Posix.O_RDWR, 0600);
    Content c = open(Kind.SEALED, fd, 0, null);
    long a = Memory.allocate(n, 8);
    Memory.fill(a, n, 1);
    assertThat(c.write(0, n, a)).isEqualTo(n);
    Stat s = new Stat();
    backing.fstat(fd, s);
    assertThat(s.size).isEqualTo(n + 4608L);
    Posix.close(fd);
  }

  private void run(Kind kind, int seed) {
    Random random = new Random(seed);
    int fd =
        Posix.open(dir.resolve(kind + "-" + seed).toString(), Posix.O_CREAT | Posix.O_RDWR, 0600);
    long buffer = Memory.allocate(LIMIT, 8);
    byte[] model = new byte[0];
    Content c = open(kind, fd, 0, null);
    try {
      for (int step = 0; step < 120; step++) {
        String what;
        switch (random.nextInt(7)) {
          case 0 -> {
            int n = random.nextInt(LIMIT);
            what = "truncate " + n;
            assertThat(c.truncate(n)).as(what).isZero();
            model = Arrays.copyOf(model, n);
          }
          case 1 -> {
            int n = random.nextInt(LIMIT / 2) + 1;
            int o = random.nextInt(LIMIT / 2);
            what = "allocate " + o + "+" + n;
            int r = c.allocate(0, o, n);
            assertThat(r).as(what).isZero();
            model = Arrays.copyOf(model, Math.max(model.length, o + n));
          }
          case 2 -> {
            what = "reopen";
            assertThat(c.flush()).isZero();
            Stat s = new Stat();
            backing.fstat(fd, s);
            c = open(kind, fd, s.size, c);
          }
          default -> {
            int o = random.nextInt(LIMIT - 1);
            int n = random.nextInt(Math.min(LIMIT - o, 1 << random.nextInt(3, 16))) + 1;
            if (random.nextInt(3) == 0) {
              o = o / 8192 * 8192;
              n = Math.min(LIMIT - o, (n + 8191) / 8192 * 8192);
            }
            what = "write " + o + "+" + n;
            byte[] data = new byte[n];
            if (random.nextInt(4) != 0) {
              random.nextBytes(data);
            }
            Memory.copyIn(data, 0, buffer, n);
            assertThat(c.write(o, n, buffer)).as(what).isEqualTo(n);
            model = Arrays.copyOf(model, Math.max(model.length, o + n));
            System.arraycopy(data, 0, model, o, n);
          }
        }
        String as = kind + " seed " + seed + " step " + step + ": " + what;
        assertThat(c.size).as(as).isEqualTo(model.length);
        byte[] got = new byte[model.length];
        assertThat(c.read(0, model.length + 10, buffer)).as(as).isEqualTo(model.length);
        Memory.copyOut(buffer, got, 0, got.length);
        assertThat(Arrays.mismatch(got, model)).as(as).isEqualTo(-1);
        if (model.length > 0) {
          int o = random.nextInt(model.length);
          int n = random.nextInt(model.length - o) + 1;
          assertThat(c.read(o, n, buffer)).as(as).isEqualTo(n);
          got = new byte[n];
          Memory.copyOut(buffer, got, 0, n);
          assertThat(Arrays.mismatch(got, 0, n, model, o, o + n)).as(as).isEqualTo(-1);
        }
      }
    } finally {
      Posix.close(fd);
    }
  }
}
