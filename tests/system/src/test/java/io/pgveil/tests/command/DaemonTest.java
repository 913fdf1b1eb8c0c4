package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What {@code mount} tells the service manager, its log and its user. */
@Tag("system")
@ExtendWith(Installation.class)
class DaemonTest {
  /** Java has no datagram sockets in the file system. */
  private static final String LISTENER =
      """
      import socket, sys
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
      s.bind(sys.argv[1])
      print('bound', flush=True)
      while True:
          print(s.recv(4096).decode(), flush=True)
      """;

  @TempDir Path temporary;
  private UpDirectory cluster;
  private Installation.Home home;
  private Command mount;

  @BeforeEach
  void makeCluster(Installation.Home installation) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: capabilities");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
    for (Path directory : new Path[] {cluster.cipher(), cluster.mount()}) {
      Files.createDirectories(directory);
    }
    Files.createDirectories(cluster.keyring().getParent());
    Command.Result made = home.run("init", cluster.cipher(), "--keyring", cluster.keyring());
    assertThat(made.code()).as(made.all()).isZero();
    mount = home.command("mount", cluster.cipher(), cluster.mount(), "--log-file", cluster.log());
  }

  @AfterEach
  void discard() throws Exception {
    if (cluster != null) {
      cluster.discard();
    }
  }

  @Test
  void theServiceManagerIsToldOfStartAndEnd() throws Exception {
    assumeTrue(
        Command.of("python3", "-c", "import socket").run().code() == 0, "python3 is missing");
    Path socket = temporary.resolve("notify");
    try (Running listener = Command.of("python3", "-c", LISTENER, socket).start().await("bound")) {
      try (Running daemon = mount.environment("NOTIFY_SOCKET", socket.toString()).start()) {
        listener.await("READY=1\nSTATUS=serving " + cluster.cipher() + "\n");
        assertThat(cluster.isMounted()).isTrue();
        assertThat(listener.output()).doesNotContain("STOPPING=1");
        assertThat(daemon.terminate()).as(daemon.output()).isZero();
      }
      listener.await("STOPPING=1\n");
    }
  }

  @Test
  void theLogHasOneLineForEachKeyEvent() throws Exception {
    try (Running daemon = mount.start()) {
      daemon.await("pgveil: mounted");
      for (String command :
          new String[] {
            "key create next --provider keyring", "key set next --provider keyring --scope server"
          }) {
        Command.Result done = home.run((Object[]) (command + " " + cluster.root()).split(" "));
        assertThat(done.code()).as(done.all()).isZero();
      }
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
    }
    assertThat(Files.readAllLines(cluster.log()))
        .filteredOn(line -> line.contains("created principal key"))
        .singleElement()
        .asString()
        .contains("INFO", "created principal key next (", "in key provider keyring");
    assertThat(Files.readAllLines(cluster.log()))
        .filteredOn(line -> line.contains("principal key of"))
        .singleElement()
        .asString()
        .contains("INFO", "principal key of the server is now next");
  }

  @Test
  void memoryThatCannotBeLockedIsTold() throws Exception {
    Object[] drop = {"setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", "--"};
    Object[] limit = {"prlimit", "--memlock=0:0", "--"};
    assumeTrue(
        Command.of("true").by(drop).by(limit).run().code() == 0,
        "no prlimit or setpriv, or no right to use them");
    try (Running daemon = mount.by(drop).by(limit).start()) {
      daemon.await("pgveil: mounted");
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
      assertThat(daemon.output())
          .contains("WARN: memory is not locked: RLIMIT_MEMLOCK is 0 bytes, unlimited or");
    }
    assertThat(Files.readString(cluster.log())).contains("RLIMIT_MEMLOCK is 0 bytes");
  }
}
