package io.pgveil.keys.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileKeyringTest {
  private static final KeyName NAME = KeyName.of("my-key");

  @TempDir Path root;
  private Path file;

  @BeforeEach
  void place() {
    file = root.resolve("keyring");
  }

  private FileKeyring keyring() {
    return new FileKeyring(file, List.of(root.resolve("cipher"), root.resolve("mount")));
  }

  private static byte[] key(int first, int size) {
    byte[] key = new byte[size];
    for (int i = 0; i < size; i++) {
      key[i] = (byte) (first + i);
    }
    return key;
  }

  private static ProviderException failure(ThrowingCallable call) {
    return Objects.requireNonNull(
        catchThrowableOfType(ProviderException.class, call), "no ProviderException was thrown");
  }

  private boolean has(FileKeyring keyring, String name) throws ProviderException {
    Optional<KeyMaterial> found = keyring.fetch(KeyName.of(name));
    found.ifPresent(KeyMaterial::close);
    return found.isPresent();
  }

  @Test
  void recordsAreWrittenAsSpecified() throws Exception {
    FileKeyring keyring = keyring();
    assertThat(keyring.fetch(NAME)).as("no file, no key").isEmpty();
    assertThat(file).doesNotExist();
    keyring.validate();
    assertThat(file).hasSize(0);
    assertThat(Files.getPosixFilePermissions(file))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    keyring.store(NAME, key(1, 16));
    keyring.store(KeyName.of("zwei"), key(50, 32));
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(bytes.capacity()).isEqualTo(2 * 292);
    byte[] first = Arrays.copyOf(bytes.array(), 292);
    assertThat(new String(first, 0, 7, StandardCharsets.US_ASCII)).isEqualTo("my-key\0");
    assertThat(Arrays.copyOfRange(first, 6, 256)).containsOnly(0);
    assertThat(Arrays.copyOfRange(first, 256, 272)).isEqualTo(key(1, 16));
    assertThat(Arrays.copyOfRange(first, 272, 288)).containsOnly(0);
    assertThat(bytes.getInt(288)).isEqualTo(16);
    assertThat(bytes.getInt(292 + 288)).isEqualTo(32);
    assertThat(Files.getPosixFilePermissions(file))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    assertThat(has(keyring(), "MY-KEY")).as("letter case is ignored").isTrue();
    assertThat(has(keyring(), "my-key2")).isFalse();
    assertThat(root).isDirectoryNotContaining("glob:**.r");
  }

  @Test
  void aKeyIsNeverReplaced() throws Exception {
    keyring().store(NAME, key(1, 16));
    byte[] before = Files.readAllBytes(file);
    assertThatThrownBy(() -> keyring().store(KeyName.of("My-Key"), key(9, 16)))
        .hasMessage("Key with name My-Key already exists in keyring");
    assertThat(file).hasBinaryContent(before);
  }

  @Test
  void halfARecordIsDamageAndNothingIsStoredBehindIt() throws Exception {
    keyring().store(NAME, key(1, 16));
    keyring().store(KeyName.of("last"), key(2, 16));
    byte[] cut = Arrays.copyOf(Files.readAllBytes(file), 2 * 292 - 1);
    Files.write(file, cut);
    assertThat(has(keyring(), "my-key")).as("whole records before it are found").isTrue();
    for (ThrowingCallable call :
        List.<ThrowingCallable>of(
            () -> keyring().fetch(KeyName.of("last")),
            () -> keyring().store(KeyName.of("new"), key(3, 16)))) {
      ProviderException e = failure(call);
      assertThat(e.code()).isEqualTo(Code.CORRUPTED);
      assertThat(e)
          .hasMessageContaining("keyring file \"" + file + "\" is corrupted")
          .hasMessageContaining("291 bytes")
          .hasMessageContaining("restore");
    }
    assertThat(file).hasBinaryContent(cut);
  }

  @Test
  void aTemporaryFileOfACrashIsInNobodysWay() throws Exception {
    keyring().store(NAME, key(1, 16));
    Files.write(root.resolve("keyring.r"), new byte[100]);
    keyring().store(KeyName.of("next"), key(2, 16));
    assertThat(has(keyring(), "next")).isTrue();
    assertThat(root.resolve("keyring.r")).doesNotExist();
  }

  @Test
  void badLengthsAreRefused() throws Exception {
    keyring().store(NAME, key(1, 16));
    for (int length : new int[] {-1, 33, Integer.MAX_VALUE}) {
      byte[] bytes = Files.readAllBytes(file);
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(288, length);
      Files.write(file, bytes);
      ProviderException e = failure(() -> keyring().fetch(NAME));
      assertThat(e.code()).isEqualTo(Code.INVALID_KEY);
      assertThat(e).hasMessageContaining("unsupported key length");
    }
  }

  private void refused(Code code, String... parts) {
    for (ThrowingCallable call :
        List.<ThrowingCallable>of(
            () -> keyring().fetch(NAME),
            () -> keyring().store(NAME, key(1, 16)),
            () -> keyring().validate())) {
      ProviderException e = failure(call);
      assertThat(e.code()).isEqualTo(code);
      assertThat(e).hasMessageContaining("\"" + file + "\" is refused");
      for (String part : parts) {
        assertThat(e).hasMessageContaining(part);
      }
    }
  }

  /**
   * Seen failing: the look at the mode in FileKeyring.objection; no ProviderException was thrown.
   */
  @Test
  void hazard23_aFileThatOthersCanReachIsRefused() throws Exception {
    keyring().store(NAME, key(1, 16));
    for (String mode : List.of("rw-r-----", "rw----r--", "rw--w----", "rw------x")) {
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
      refused(Code.INSECURE, "its mode 06", "chmod 600");
    }
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
    refused(Code.INSECURE, "its mode 0640");
  }

  /**
   * Linux shows what an access control list grants to anyone but the owner in the bits of the group
   * (acl(5): its mask), so the look at the mode is enough. Seen failing: that look in PrivateFile;
   * no ProviderException was thrown.
   */
  @Test
  void hazard23_anAccessControlListThatGrantsMoreIsRefused() throws Exception {
    keyring().store(NAME, key(1, 16));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    // version 2; owner rw, user 12345 r, group none, mask r, others none
    String program =
        """
        import os, struct, sys
        entries = ((1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)
        os.setxattr(sys.argv[1], "system.posix_acl_access", acl)
        """;
    Process python;
    try {
      python =
          new ProcessBuilder("python3", "-c", program, file.toString())
              .redirectErrorStream(true)
              .start();
    } catch (IOException e) {
      Assumptions.abort("python3 is missing, which sets the list");
      return;
    }
    String said = new String(python.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    Assumptions.assumeTrue(python.waitFor() == 0, "the file system has no such lists: " + said);
    refused(Code.INSECURE, "its mode 0640");
  }

  /**
   * Seen failing: the look at the owner in FileKeyring.objection; no ProviderException was thrown.
   */
  @Test
  void hazard23_aFileOfSomeoneElseIsRefused() throws Exception {
    Assumptions.assumeTrue(Posix.geteuid() == 0, "only root can give a file away");
    keyring().store(NAME, key(1, 16));
    Files.setAttribute(file, "unix:uid", 12345);
    refused(Code.INSECURE, "12345", "owner");
  }

  /**
   * Seen failing: the look at the type in FileKeyring.objection; the message does not contain "not
   * a regular file".
   */
  @Test
  void hazard23_whatIsNoRegularFileIsRefused() throws Exception {
    Files.createDirectory(file);
    refused(Code.INSECURE, "not a regular file");
    Files.delete(file);
    assertThat(
            new ProcessBuilder("mkfifo", "-m", "600", file.toString())
                .inheritIO()
                .start()
                .waitFor())
        .isZero();
    refused(Code.INSECURE, "not a regular file");
  }

  /** Seen failing: the forbidden roots in PathResolver.walk; no ProviderException was thrown. */
  @Test
  void hazard23_aFileInCipherDirectoryOrMountIsRefused() throws Exception {
    for (String place : List.of("cipher", "mount")) {
      Path dir = Files.createDirectories(root.resolve(place).resolve("deep"));
      file = dir.resolve("keyring");
      refused(Code.MISPLACED, "cipher directory or the mount");
      file = root.resolve("x/../" + place + "/keyring");
      refused(Code.MISPLACED, "cipher directory or the mount");
      assertThat(dir).isEmptyDirectory();
    }
  }

  /** Seen failing: readLink in PathResolver.walk; no ProviderException was thrown. */
  @Test
  void hazard23_alsoThroughSymbolicLinks() throws Exception {
    Files.createDirectory(root.resolve("mount"));
    Files.createSymbolicLink(root.resolve("dir"), root.resolve("mount"));
    Files.createSymbolicLink(root.resolve("relative"), Path.of("dir/../mount/k"));
    Files.createSymbolicLink(root.resolve("again"), root.resolve("relative"));
    for (String name : List.of("dir/k", "relative", "again")) {
      file = root.resolve(name);
      refused(Code.MISPLACED, "cipher directory or the mount");
    }
    // and when a root is given by a link itself
    Path real = Files.createDirectories(root.resolve("real/mnt"));
    Files.createSymbolicLink(root.resolve("link"), root.resolve("real"));
    assertThat(
            failure(
                () ->
                    new FileKeyring(real.resolve("k"), List.of(root.resolve("link/mnt")))
                        .fetch(NAME)))
        .hasMessageContaining("is refused");
  }

  @Test
  void aLinkToAnHonestPlaceIsFollowedAndKept() throws Exception {
    Path honest = Files.createDirectory(root.resolve("honest"));
    Files.createSymbolicLink(file, honest.resolve("k"));
    keyring().store(NAME, key(1, 16));
    assertThat(file).isSymbolicLink();
    assertThat(honest.resolve("k")).hasSize(292);
    assertThat(has(keyring(), "my-key")).isTrue();
  }

  @Test
  void linksThatGoRoundAndRelativePathsAreRefused() throws Exception {
    Files.createSymbolicLink(file, file);
    assertThat(failure(() -> keyring().fetch(NAME)).getMessage()).contains("ELOOP");
    assertThat(failure(() -> new FileKeyring(Path.of("k"), List.of()).fetch(NAME)))
        .hasMessageContaining("absolute path");
  }

  @Test
  void aMissingDirectoryIsNamed() {
    file = root.resolve("nowhere/keyring");
    assertThat(failure(() -> keyring().validate()))
        .hasMessageContaining("Failed to open")
        .hasMessageContaining("nowhere")
        .hasMessageContaining("ENOENT")
        .satisfies(e -> assertThat(e.code()).isEqualTo(Code.MISSING));
  }

  @Test
  void writersTakeTurns() throws Exception {
    try (var pool = Executors.newFixedThreadPool(4)) {
      List<Future<?>> all = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        KeyName name = KeyName.of("key" + i);
        all.add(
            pool.submit(
                () -> {
                  keyring().store(name, key(1, 16));
                  return null;
                }));
      }
      for (Future<?> f : all) {
        f.get();
      }
    }
    assertThat(file).hasSize(40 * 292);
    for (int i = 0; i < 40; i++) {
      assertThat(has(keyring(), "key" + i)).isTrue();
    }
  }

  /** flock(1) stands for another process. */
  @Test
  void aStoreWaitsForAnotherProcess() throws Exception {
    keyring().validate();
    Path held = root.resolve("held");
    Process other;
    try {
      other =
          new ProcessBuilder(
                  "flock", root.toString(), "sh", "-c", "touch '" + held + "'; read line")
              .start();
    } catch (IOException e) {
      Assumptions.abort("no flock(1) here");
      return;
    }
    try (var pool = Executors.newSingleThreadExecutor()) {
      while (!Files.exists(held)) {
        assertThat(other.isAlive()).isTrue();
        Thread.onSpinWait();
      }
      Future<?> store =
          pool.submit(
              () -> {
                keyring().store(NAME, key(1, 16));
                return null;
              });
      Path self = Path.of("/proc/locks");
      // until the kernel lists our waiting request: "1: -> FLOCK ..."
      while (Files.readString(self).lines().noneMatch(l -> l.contains("-> FLOCK"))) {
        assertThat(store.isDone()).isFalse();
        Thread.onSpinWait();
      }
      assertThat(file).hasSize(0);
      other.getOutputStream().close();
      store.get();
      assertThat(file).hasSize(292);
    } finally {
      other.destroy();
    }
  }
}
