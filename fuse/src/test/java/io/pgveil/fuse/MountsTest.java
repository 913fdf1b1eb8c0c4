package io.pgveil.fuse;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MountsTest {
  @Test
  void readsMountinfo() throws Exception {
    assertThat(
            Mounts.parse(
                """
                22 1 253:0 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw
                40 22 0:53 / /mnt/a\\040b\\134c\\011 rw - fuse.pgveil x\\012y rw,user_id=0
                """))
        .containsExactly(
            new Mounts.Mount(253, 0, "/", "ext4", "/dev/root"),
            new Mounts.Mount(0, 53, "/mnt/a b\\c\t", "fuse.pgveil", "x\ny"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "x",
        "22 1 253:0 / / rw",
        "22 1 253:0 / / rw shared:1 -",
        "22 1 2530 / / rw - ext4 /dev/root rw",
        "22 1 a:0 / / rw - ext4 /dev/root rw",
        "22 1 0:99999999999 / / rw - ext4 /dev/root rw"
      })
  void refusesOtherLines(String line) {
    assertThatThrownBy(() -> Mounts.parse(line + "\n"))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(line);
  }

  @Test
  void findsMounts(@TempDir Path temp) throws Exception {
    assertThat(Mounts.find(Path.of("/"))).isPresent();
    assertThat(Mounts.find(Path.of("/proc/."))).get().matches(m -> m.type().equals("proc"));
    assertThat(Mounts.find(temp)).isEmpty();
    Path link = Files.createSymbolicLink(temp.resolve("link"), Path.of("/proc"));
    assertThat(Mounts.find(link)).get().matches(m -> m.type().equals("proc"));
  }

  @Test
  void aMountThatIsNotFuseIsNeverStale() throws Exception {
    assertThat(Mounts.isStale(Mounts.find(Path.of("/proc")).orElseThrow())).isFalse();
    assertThat(Mounts.removeStale(Path.of("/proc"))).isFalse();
  }
}
