package io.pgveil.fuse;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.Memory;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class HandshakeTest {
  private static final int SIZE = 104;

  private final long in = Memory.allocate(SIZE, 8);
  private final long out = Memory.allocate(Handshake.replySize(), 8);
  private final MountOptions.Builder options = MountOptions.at(Path.of("/nowhere"));

  private boolean rings;

  private FileSystem.SessionInfo answer(int major, int minor, int flags) throws MountException {
    Memory.putInt(in, SIZE);
    Memory.putInt(in + 4, 26);
    Memory.putLong(in + 8, 2);
    Memory.putInt(in + 40, major);
    Memory.putInt(in + 44, minor);
    Memory.putInt(in + 48, 131_072);
    Memory.putInt(in + 52, flags);
    return Handshake.answer(in, SIZE, options.build(), rings, out);
  }

  private Kind refused(int major, int minor) {
    return catchThrowableOfType(MountException.class, () -> answer(major, minor, -1)).kind();
  }

  @Test
  void asksForWhatIsOffered() throws Exception {
    options.maxWrite(65_536).maxBackground(10).readAheadKib(512);
    assertThat(answer(7, 45, -1))
        .isEqualTo(new FileSystem.SessionInfo(38, true, 65_536, 16, false));
    assertThat(Memory.getInt(out)).isEqualTo(80);
    assertThat(Memory.getInt(out + 4)).isZero();
    assertThat(Memory.getLong(out + 8)).isEqualTo(2);
    assertThat(Memory.getInt(out + 16)).isEqualTo(7);
    assertThat(Memory.getInt(out + 20)).isEqualTo(38);
    assertThat(Memory.getInt(out + 24)).isEqualTo(524_288);
    int asyncRead = 1;
    int bigWrites = 1 << 5;
    int readdirplus = 3 << 13;
    int asyncDio = 1 << 15;
    int writeback = 1 << 16;
    int parallelDirops = 1 << 18;
    int maxPages = 1 << 22;
    assertThat(Memory.getInt(out + 28))
        .isEqualTo(
            asyncRead | bigWrites | readdirplus | asyncDio | writeback | parallelDirops | maxPages);
    assertThat(Memory.getShort(out + 32)).isEqualTo(10);
    assertThat(Memory.getShort(out + 34)).isEqualTo(7);
    assertThat(Memory.getInt(out + 36)).isEqualTo(65_536);
    assertThat(Memory.getInt(out + 40)).isEqualTo(1);
    assertThat(Memory.getShort(out + 44)).isEqualTo(16);
  }

  @Test
  void takesRingsWhereBothSidesHaveThem() throws Exception {
    int extended = 1 << 30;
    int overIoUring = 1 << 9;
    Memory.putInt(in + 56, overIoUring);
    assertThat(answer(7, 42, extended).ioUring()).isFalse();
    assertThat(Memory.getInt(out + 28)).isZero();
    assertThat(Memory.getInt(out + 48)).isZero();
    rings = true;
    assertThat(answer(7, 42, extended).ioUring()).isTrue();
    assertThat(Memory.getInt(out + 28)).isEqualTo(extended);
    assertThat(Memory.getInt(out + 48)).isEqualTo(overIoUring);
    assertThat(answer(7, 42, 0).ioUring()).isFalse();
    Memory.putInt(in + 56, ~overIoUring);
    assertThat(answer(7, 42, extended).ioUring()).isFalse();
  }

  @Test
  void takesNothingThatIsNotOffered() throws Exception {
    assertThat(answer(7, 31, 0))
        .isEqualTo(new FileSystem.SessionInfo(31, false, 1 << 20, 256, false));
    assertThat(Memory.getInt(out + 28)).isZero();
    options.writebackCache(false);
    assertThat(answer(7, 31, -1).writebackCache()).isFalse();
  }

  @Test
  void refusesOldKernels() {
    assertThat(refused(7, 30)).isEqualTo(Kind.KERNEL_TOO_OLD);
    assertThat(refused(6, 99)).isEqualTo(Kind.KERNEL_TOO_OLD);
  }

  @Test
  void asksANewerKernelToSpeakOurVersion() throws Exception {
    assertThat(answer(8, 1, -1)).isNull();
    assertThat(Memory.getInt(out + 16)).isEqualTo(7);
    assertThat(Memory.getInt(out + 28)).isZero();
  }

  @Test
  void refusesWhatIsNotInit() throws Exception {
    answer(7, 31, 0);
    Memory.putInt(in + 4, 3);
    assertThat(
            catchThrowableOfType(
                    MountException.class,
                    () -> Handshake.answer(in, SIZE, options.build(), rings, out))
                .kind())
        .isEqualTo(Kind.OTHER);
    Memory.putInt(in + 4, 26);
    assertThat(
            catchThrowableOfType(
                    MountException.class,
                    () -> Handshake.answer(in, 50, options.build(), rings, out))
                .kind())
        .isEqualTo(Kind.OTHER);
  }
}
