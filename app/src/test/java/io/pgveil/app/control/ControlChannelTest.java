package io.pgveil.app.control;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.Posix;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
          new Reply.Status(
              cipher.toString(), null, null, List.of(), 3, true, List.of(), List.of("w"));
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
            new Request.MoveKey("k", "p", null, "q", 5L),
            new Request.VerifyKey(1664),
            new Request.AddProvider("p", "file", Map.of("path", "/a b/ü"), null),
            new Request.ChangeProvider("p", "kmip", Map.of("host", "h", "port", "1"), 7L, true),
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
              new Reply.Status(
                  cipher.toString(), null, null, List.of(), 3, true, List.of(), List.of("w")));
    }
    assertThat(executed).startsWith(requests.toArray(Request[]::new)).hasSize(9);
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

  /**
   * Seen failing: the mode of the socket in ControlServer.start; "rwxr-xr-x". Its owner; root
   * instead of 12345. The removal of its directory in ControlServer.close; it exists.
   */
  @Test
  void hazard24_onlyTheOwnerOfTheCipherDirectoryCanConnectAndNothingIsLeft() throws Exception {
    if (Posix.geteuid() == 0) {
      Files.setAttribute(cipher, "unix:uid", 12345);
    }
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

  /**
   * The mode of the socket keeps others away; whoever passes it all the same has no say either.
   * Seen failing: the peer in ControlServer.serve; "done" instead of NO_PERMISSION.
   */
  @Test
  void hazard24_anotherUserIsRefusedThoughTheSocketLetsHimIn() throws Exception {
    assumeTrue(Posix.geteuid() == 0, "needs root to become another user");
    assumeTrue(
        onPath("setpriv") && asUser(23456, "--version").waitFor() == 0,
        "needs setpriv (util-linux) and a JDK that every user may run");
    Files.setAttribute(cipher, "unix:uid", 12345);
    try (ControlServer server = server()) {
      for (Path p : List.of(root, Objects.requireNonNull(server.socket().getParent()))) {
        Files.setPosixFilePermissions(p, PosixFilePermissions.fromString("rwxr-xr-x"));
      }
      Files.setPosixFilePermissions(server.socket(), PosixFilePermissions.fromString("rw-rw-rw-"));
      String request = ControlServer.JSON.writeValueAsString(new Request.VerifyKey(1));
      assertThat(answer(23456, server.socket(), request)).contains("NO_PERMISSION", "user 23456");
      assertThat(executed).isEmpty();
      assertThat(answer(12345, server.socket(), request)).contains("\"done\"");
    }
  }

  private static boolean onPath(String program) {
    return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(":", -1))
        .anyMatch(d -> Files.isExecutable(Path.of(d, program)));
  }

  /** What another user's process is answered. */
  private String answer(int user, Path socket, String request) throws Exception {
    Path client = root.resolve("Client.java");
    Files.writeString(
        client,
        """
        void main(String[] args) throws Exception {
          var address = java.net.UnixDomainSocketAddress.of(args[0]);
          try (var channel = java.nio.channels.SocketChannel.open(address)) {
            try {
              channel.write(java.nio.ByteBuffer.wrap((args[1] + "\\n").getBytes()));
            } catch (java.io.IOException e) {
              // refused before it was asked
            }
            var answer = java.nio.ByteBuffer.allocate(1000);
            channel.read(answer);
            IO.println(new String(answer.array(), 0, answer.position()));
          }
        }
        """);
    Process process = asUser(user, client.toString(), socket.toString(), request);
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }

  private static Process asUser(int user, String... arguments) throws Exception {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> words =
        new ArrayList<>(
            List.of("setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", java));
    words.addAll(List.of(arguments));
    return new ProcessBuilder(words).redirectErrorStream(true).start();
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
