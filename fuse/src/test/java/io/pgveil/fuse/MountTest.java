package io.pgveil.fuse;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("mount")
class MountTest {
  private final MemoryFileSystem fileSystem = new MemoryFileSystem();

  @TempDir Path temp;
  private MountFixture mount;
  private Path root;

  @BeforeEach
  void mount() throws Exception {
    root = Files.createDirectory(temp.resolve("mnt"));
    mount = new MountFixture(fileSystem, MountOptions.at(root).allowOther(true).build());
  }

  @AfterEach
  void unmount() throws Exception {
    if (mount != null) {
      mount.close();
    }
  }

  @Test
  void writesAndReads() throws Exception {
    Path file = root.resolve("file");
    Files.writeString(file, "hello");
    assertThat(Files.readString(file)).isEqualTo("hello");
    assertThat(fileSystem.contents("file")).isEqualTo("hello".getBytes(StandardCharsets.UTF_8));
    System.err.println(mount.session.info() + " " + mount.session.statistics());
  }
}
