package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Posix;
import io.pgveil.tests.support.OpenBao;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Clusters whose key provider is at another place when they are to start again. */
@Tag("system")
@ExtendWith(Installation.class)
class MovedProviderTest {
  private static final String DIGEST = "SELECT md5(string_agg(t::text, ',' ORDER BY i)) FROM t";

  @TempDir Path temporary;
  private Installation.Home home;
  private UpDirectory cluster;
  private String rows;

  @BeforeEach
  void prepare(Installation.Home installation) throws Exception {
    assumeTrue(Posix.geteuid() == 0, "as root only: mounts, and a server of another user");
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
    home = installation;
    cluster = UpDirectory.in(temporary);
  }

  @AfterEach
  void discard() throws Exception {
    if (cluster != null) {
      cluster.discard();
    }
  }

  private void load(Object... firstProvider) throws Exception {
    List<Object> first = new ArrayList<>(Arrays.asList(firstProvider));
    first.addAll(List.of("--port", UpDirectory.freePort()));
    try (Running up = cluster.up(home, first.toArray())) {
      UpDirectory.sql(up, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 9) i");
      rows = UpDirectory.sql(up, DIGEST);
      assertThat(up.terminate()).as(up.output()).isZero();
    }
  }

  private void refused(int code, Object named, String command, Object... arguments)
      throws Exception {
    List<Object> words = new ArrayList<>(List.of((Object[]) command.split(" ")));
    words.addAll(Arrays.asList(arguments));
    var before = Tree.of(cluster.cipher());
    Command.Result result = home.run(words.toArray());
    assertThat(result.code()).as("%s: %s", words, result.all()).isEqualTo(code);
    assertThat(result.err()).contains(named.toString(), "\nremedy: ");
    assertThat(Tree.difference(before, Tree.of(cluster.cipher()))).as("%s", words).isEmpty();
  }

  private void mountRefused(int code, Object named) throws Exception {
    refused(
        code,
        named,
        "mount",
        cluster.cipher(),
        cluster.mount(),
        "--log-file",
        temporary.resolve("log"),
        "--provider-wait",
        0);
  }

  private void changed(Object... arguments) throws Exception {
    Command.Result done =
        home.command("change-key-provider", "-D", cluster.cipher()).with(arguments).run();
    assertThat(done.code()).as(done.all()).isZero();
    assertThat(done.out()).startsWith("changed key provider ");
  }

  private void mounts() throws Exception {
    try (Running daemon =
        home.command("mount", cluster.cipher(), cluster.mount())
            .with("--log-file", temporary.resolve("log"))
            .start()
            .await("pgveil: mounted")) {
      assertThat(daemon.terminate()).as(daemon.output()).isZero();
    }
  }

  private void hasItsRows() throws Exception {
    try (Running up = cluster.up(home)) {
      assertThat(UpDirectory.sql(up, DIGEST)).isEqualTo(rows);
      assertThat(up.terminate()).as(up.output()).isZero();
    }
  }

  @Test
  void aKeyringThatWasMoved() throws Exception {
    load();
    Path moved = Files.createDirectory(temporary.resolve("moved")).resolve("keyring");
    Files.move(cluster.keyring(), moved);
    mountRefused(20, cluster.keyring());

    String change = "change-key-provider --pgdata " + cluster.root() + " 1664 keyring file";
    Path nowhere = temporary.resolve("moved/nowhere");
    refused(20, nowhere, change, nowhere);
    assertThat(nowhere).doesNotExist();
    // what is there has the name of the key, and other bytes
    Path other = temporary.resolve("moved/other");
    Command.Result made = home.run("init", temporary.resolve("second"), "--keyring", other);
    assertThat(made.code()).as(made.all()).isZero();
    refused(25, "principal-key-1", change, other);
    refused(27, "\"nobody\"", change.replace("keyring", "nobody"), moved);
    refused(2, "wrong number of arguments", change, moved, other);

    changed("1664", "keyring", "file", moved);
    mounts();
    hasItsRows();

    changed("--no-check", "keyring", "file", "path=" + other);
    mountRefused(25, "principal-key-1");
    changed("--no-check", "keyring", "file", "path=" + moved);
    hasItsRows();
  }

  @Test
  void anOpenBaoWhoseAddressHasChanged() throws Exception {
    try (OpenBao server = OpenBao.start(Files.createDirectory(temporary.resolve("server")))) {
      Path token = OpenBao.write(temporary.resolve("token"), server.token());
      load(server.firstProvider(token).toArray());
      String old = server.url();
      server.stop();
      server.moveAndStartAgain();
      server.unseal();
      assertThat(server.url()).isNotEqualTo(old);
      mountRefused(26, old);
      refused(
          26,
          old,
          "change-key-provider 1664 vault-v2 vault-v2 " + old + " secret",
          token,
          "-D",
          cluster.cipher());
      Path absent = temporary.resolve("absent");
      refused(
          29,
          absent,
          "change-key-provider vault-v2 vault-v2 " + server.url() + " secret",
          absent,
          server.authorities(),
          "-D",
          cluster.cipher());

      changed("1664", "vault-v2", "vault-v2", server.url(), "secret", token, server.authorities());
      mounts();
      hasItsRows();
    }
  }
}
