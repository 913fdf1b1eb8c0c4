package io.pgveil.app.metrics;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.app.error.CommandException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MetricsServerTest {
  @TempDir Path directory;

  private static String ask(Path socket, String request) throws IOException {
    try (SocketChannel c = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      c.write(UTF_8.encode(request));
      c.shutdownOutput();
      return new String(Channels.newInputStream(c).readAllBytes(), UTF_8);
    }
  }

  @Test
  void answersOneRequestAndRefusesOthers() throws Exception {
    Path socket = directory.resolve("s");
    try (MetricsServer server =
        MetricsServer.start(MetricsAddress.parse("unix:" + socket), () -> "a_metric 1\n")) {
      assertThat(server).isNotNull();
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
          .isEqualTo("rw-------");
      assertThat(ask(socket, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
          .startsWith("HTTP/1.1 200 OK\r\n")
          .contains("Content-Length: 11\r\n")
          .endsWith("\r\n\r\na_metric 1\n");
      assertThat(ask(socket, "GET / HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 404");
      assertThat(ask(socket, "POST /metrics HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 404");
      assertThat(ask(socket, "GET /metrics HTTP/1.1\r\n")).as("no end").isEmpty();
      assertThat(ask(socket, "x".repeat(8192))).as("too long").isEmpty();
      assertThat(ask(socket, "\r\n\r\n")).startsWith("HTTP/1.1 404");
      assertThat(ask(socket, "GET /metrics HTTP/1.1\r\n\r\n")).as("goes on").contains("a_metric");
    }
    assertThat(socket).doesNotExist();
  }

  @Test
  void replacesTheSocketOfADaemonThatWasKilledButNoOtherFile() throws Exception {
    Path socket = directory.resolve("s");
    MetricsAddress address = MetricsAddress.parse("unix:" + socket);
    ServerSocketChannel old = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    old.bind(UnixDomainSocketAddress.of(socket));
    old.close();
    assertThat(socket).exists();
    MetricsServer.start(address, () -> "").close();
    Files.writeString(socket, "a file");
    assertThatThrownBy(() -> MetricsServer.start(address, () -> ""))
        .isInstanceOf(CommandException.class)
        .hasMessageContaining("cannot serve metrics")
        .hasMessageContaining(socket.toString());
    assertThat(socket).hasContent("a file");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "unix:", "unix:s", "host", "1.2.3.4:99999", "localhost:", ":80"})
  void addressesThatAreNoneAreRefused(String text) {
    assertThatThrownBy(() -> MetricsAddress.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("is neither unix:/PATH nor [HOST:]PORT");
  }

  @ParameterizedTest
  @ValueSource(strings = {"0.0.0.0:9187", "192.0.2.1:9187"})
  void addressesOfOtherMachinesAreRefused(String text) {
    assertThatThrownBy(() -> MetricsAddress.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("not an address of this machine alone");
  }

  @ParameterizedTest
  @ValueSource(strings = {"9187", "127.0.0.1:9187", "localhost:9187", "unix:/run/pgveil/metrics"})
  void addressesOfThisMachineAreTaken(String text) {
    assertThat(MetricsAddress.parse(text).toString()).contains(text.replaceAll(".*[:/]", ""));
  }
}
