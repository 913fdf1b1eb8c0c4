package io.pgveil.app.control;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ControlChannelTest {
  @TempDir Path root;

  private Path cipher;
  private final List<Request> executed = Collections.synchronizedList(new ArrayList<>());

  @BeforeEach
  void cipherDirectory() throws Exception {
    cipher = root.resolve("c");
    Files.createDirectories(cipher.resolve(CipherDirectory.KEYS));
    Files.createFile(cipher.resolve(CipherDirectory.KEYS).resolve(CipherDirectory.SEAL));
  }

  private Reply execute(Request request) throws CommandException {
    executed.add(request);
    return switch (request) {
      case Request.DeleteKey delete ->
          throw new CommandException(
              ExitCode.KEY_REFUSED, "cannot delete", "key of " + delete.scope(), "it is in use");
      case Request.ListKeys list -> throw new IllegalStateException("a defect");
      case Request.Status status ->
          new Reply.Status(cipher.toString(), null, null, List.of(), 3, true, List.of("w"));
      default -> new Reply.Done("done");
    };
  }

  private ControlServer server() throws CommandException {
    return ControlServer.start(root.resolve("run/c"), cipher, this::execute);
  }

  private static ControlClient.OpenCluster neverOpened(Path cipherDirectory, boolean readOnly) {
    throw new AssertionError("opened in this process: " + cipherDirectory);
  }

  @Test
  void everyRequestArrivesAsItWasSent() throws Exception {
    List<Request> requests =
        List.of(
            new Request.CreateKey("k", "p", null),
            new Request.SetKey(0xffff_ffffL, "k", "p", 5L),
            new Request.VerifyKey(1664),
            new Request.AddProvider("p", "file", Map.of("path", "/a b/ü"), null),
            new Request.ChangeProvider("p", "kmip", Map.of("host", "h", "port", "1"), 7L),
            new Request.DeleteProvider("p", null),
            new Request.ListProviders(5L));
    try (ControlServer server = server();
        ClusterLock lock = ClusterLock.acquire(cipher, "mount")) {
      lock.describe("mount", server.socket(), root);
      for (Request request : requests) {
        assertThat(ControlClient.execute(cipher, request, ControlChannelTest::neverOpened))
            .isEqualTo(new Reply.Done("done"));
      }
      assertThat(ControlClient.send(server.socket(), new Request.Status()))
          .isEqualTo(
              new Reply.Status(cipher.toString(), null, null, List.of(), 3, true, List.of("w")));
    }
    assertThat(executed).startsWith(requests.toArray(Request[]::new)).hasSize(8);
  }

  @Test
  void aRefusalArrivesWithItsExitCodeAndADefectWithoutDetails() throws Exception {
    try (ControlServer server = server()) {
      assertThatThrownBy(() -> ControlClient.send(server.socket(), new Request.DeleteKey(5)))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> {
                assertThat(e.exitCode()).isEqualTo(ExitCode.KEY_REFUSED);
                assertThat(e).hasMessage("cannot delete: key of 5: it is in use");
                assertThat(e.remedy()).isEqualTo(ExitCode.KEY_REFUSED.remedy());
              });
      assertThatThrownBy(() -> ControlClient.send(server.socket(), new Request.ListKeys()))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> {
                assertThat(e.exitCode()).isEqualTo(ExitCode.INTERNAL);
                assertThat(e.getMessage()).doesNotContain("a defect");
              });
    }
  }

  @Test
  void rubbishIsAnsweredAndTheServerGoesOn() throws Exception {
    try (ControlServer server = server()) {
      for (String line : List.of("{", "{\"command\":\"no-such\"}", "[]", "")) {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
          channel.connect(UnixDomainSocketAddress.of(server.socket()));
          channel.write(ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8)));
          assertThat(new LineReader(channel, 65536).next())
              .contains("\"reply\":\"failed\"")
              .contains("USAGE");
        }
      }
      assertThat(ControlClient.send(server.socket(), new Request.VerifyKey(1)))
          .isEqualTo(new Reply.Done("done"));
    }
    assertThat(executed).hasSize(1);
  }

  @Test
  void hazard24_onlyTheOwnerOfTheCipherDirectoryCanConnectAndNothingIsLeft() throws Exception {
    Path socket;
    try (ControlServer server = server()) {
      socket = server.socket();
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
          .isEqualTo("rw-------");
      assertThat(Files.getOwner(socket)).isEqualTo(Files.getOwner(cipher));
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket.getParent())))
          .isEqualTo("rwx--x--x");
    }
    assertThat(socket.getParent()).doesNotExist();
  }

  @Test
  void aStoppedClusterIsOpenedHereUnderTheLock() throws Exception {
    Reply reply =
        ControlClient.execute(
            cipher,
            new Request.VerifyKey(1664),
            (c, readOnly) ->
                new ControlClient.OpenCluster() {
                  @Override
                  public Reply execute(Request request) throws CommandException {
                    assertThat(ClusterLock.tryAcquire(cipher, "second")).isEmpty();
                    return new Reply.Done("here");
                  }

                  @Override
                  public void close() {}
                });
    assertThat(reply).isEqualTo(new Reply.Done("here"));
    ClusterLock.acquire(cipher, "afterwards").close();
  }

  @Test
  void aDaemonThatDoesNotAnswerIsNamed() throws Exception {
    try (ClusterLock lock = ClusterLock.acquire(cipher, "mount")) {
      assertThatThrownBy(
              () ->
                  ControlClient.execute(
                      cipher, new Request.Status(), ControlChannelTest::neverOpened))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> assertThat(e.exitCode()).isEqualTo(ExitCode.ALREADY_SERVED));
      lock.describe("mount", root.resolve("gone"), root);
      assertThatThrownBy(
              () ->
                  ControlClient.execute(
                      cipher, new Request.Status(), ControlChannelTest::neverOpened))
          .isInstanceOfSatisfying(
              CommandException.class,
              e -> assertThat(e.exitCode()).isEqualTo(ExitCode.DAEMON_UNREACHABLE));
    }
  }
}
