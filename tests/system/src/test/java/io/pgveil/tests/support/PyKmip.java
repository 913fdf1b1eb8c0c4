package io.pgveil.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.tests.Project;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A real PyKMIP server, set up as docs/providers/kmip.md says: certificates and configuration are
 * taken from that document. Its files are in one directory, which survives {@link #stop}. It ends
 * with this process.
 */
public final class PyKmip implements AutoCloseable {
  private static final int PATIENCE_SECONDS = 60;
  private static final Path SCRIPT = Project.root().resolve("tests/peers/pykmip.py");

  /**
   * What a client of PyKMIP finds.
   *
   * @param key in hexadecimal digits
   */
  public record Found(
      String id,
      String key,
      String algorithm,
      int bits,
      int usageMask,
      String state,
      String name) {}

  private final String python;
  private final Path directory;
  private final int port;
  private final String versions;
  private Process process;

  private PyKmip(String python, Path directory, int port, String versions) throws Exception {
    this.python = python;
    this.directory = directory;
    this.port = port;
    this.versions = versions;
    Peers.shell(directory, Peers.block("kmip.md", "sh", 0));
    Files.createDirectory(directory.resolve("policy"));
    Files.writeString(
        directory.resolve("server.conf"),
        Peers.block("kmip.md", "ini", 0).replace("5696", "" + port).replace("INFO", "DEBUG"));
    process = run();
  }

  /** With every version of the protocol. */
  public static PyKmip start(Path directory) throws Exception {
    return start(directory, "1.4,1.3,1.2,1.1,1.0,2.0");
  }

  /**
   * A server that is ready; skips the test if it cannot be had.
   *
   * @param directory an empty one, for its files
   * @param versions of the protocol, with commas
   */
  public static PyKmip start(Path directory, String versions) throws Exception {
    String python = Peers.install("pykmip");
    PyKmip server = new PyKmip(python, directory, Peers.freePort(), versions);
    try {
      server.await();
      return server;
    } catch (Exception | AssertionError e) {
      server.close();
      throw e;
    }
  }

  private Process run() throws IOException {
    return new ProcessBuilder(
            python, SCRIPT.toString(), "server", "server.conf", log().toString(), versions)
        .directory(directory.toFile())
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(directory.resolve("output").toFile()))
        .start();
  }

  private void await() throws Exception {
    TestCluster.await(
        "the server listens, see " + log(),
        () -> {
          assertThat(process.isAlive()).as(Files.readString(directory.resolve("output"))).isTrue();
          try (Socket _ = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return true;
          } catch (ConnectException e) {
            return false;
          }
        });
  }

  public void stop() throws Exception {
    process.destroyForcibly();
    assertThat(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)).isTrue();
  }

  /** After {@link #stop}. */
  public void startAgain() throws Exception {
    process = run();
    await();
  }

  /** What the client of PyKMIP prints. */
  public String client(String... arguments) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                python,
                SCRIPT.toString(),
                "client",
                "127.0.0.1",
                "" + port,
                "ca.pem",
                "client.pem",
                "client.key",
                versions.split(",")[0]));
    command.addAll(Arrays.asList(arguments));
    Process p = new ProcessBuilder(command).directory(directory.toFile()).start();
    String output = Peers.text(p.getInputStream());
    String errors = Peers.text(p.getErrorStream());
    assertThat(p.waitFor()).as(output + errors).isZero();
    return output;
  }

  /** All keys of a name. */
  public List<Found> find(String name) throws Exception {
    return client("find", name)
        .lines()
        .map(line -> line.split(" ", 7))
        .map(
            f ->
                new Found(
                    f[0], f[1], f[2], Integer.parseInt(f[3]), Integer.parseInt(f[4]), f[5], f[6]))
        .toList();
  }

  public int port() {
    return port;
  }

  /** A file of the directory: {@code ca.pem}, {@code client.pem}, {@code client.key}. */
  public Path file(String name) {
    return directory.resolve(name);
  }

  /** It has every message in it. */
  public Path log() {
    return directory.resolve("server.log");
  }

  /** Runs commands where the certificates are. */
  public void shell(String commands) throws Exception {
    Peers.shell(directory, commands);
  }

  /** Arguments for {@code up} and {@code init}. */
  public List<String> firstProvider() {
    List<String> arguments = new ArrayList<>(List.of("--provider", "kmip"));
    options().forEach(o -> arguments.addAll(List.of("--option", o)));
    return arguments;
  }

  /** Arguments for {@code provider add} and {@code provider change}. */
  public Stream<String> options() {
    return Stream.of(
        "host=127.0.0.1",
        "port=" + port,
        "certPath=" + file("client.pem"),
        "keyPath=" + file("client.key"),
        "caPath=" + file("ca.pem"));
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
