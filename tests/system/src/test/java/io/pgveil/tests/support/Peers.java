package io.pgveil.tests.support;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;

import io.pgveil.tests.Project;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What real servers of others need. */
final class Peers {
  private Peers() {}

  /** What a script of {@code tests/peers} prints; skips the test if the server cannot be had. */
  static String install(String script) throws Exception {
    Process install =
        new ProcessBuilder(Project.root().resolve("tests/peers/" + script).toString())
            .redirectInput(Path.of("/dev/null").toFile())
            .start();
    String program = text(install.getInputStream());
    String reason = text(install.getErrorStream());
    if (install.waitFor() == 77) {
      abort(reason);
    }
    assertThat(install.exitValue()).as(reason).isZero();
    return program;
  }

  static int freePort() throws IOException {
    try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return any.getLocalPort();
    }
  }

  static String text(InputStream in) throws IOException {
    return new String(in.readAllBytes(), UTF_8).strip();
  }

  /** Runs commands of a document. */
  static void shell(Path directory, String commands) throws Exception {
    Process p =
        new ProcessBuilder("sh", "-ec", commands)
            .directory(directory.toFile())
            .redirectErrorStream(true)
            .start();
    String output = text(p.getInputStream());
    if (p.waitFor() == 127) {
      abort("a program is missing (package openssl): " + output);
    }
    assertThat(p.exitValue()).as(output).isZero();
  }

  /** The n-th block of a language in a document of {@code docs/providers}, counted from 0. */
  static String block(String document, String language, int n) throws IOException {
    String text = Files.readString(Project.root().resolve("docs/providers/" + document));
    Matcher m =
        Pattern.compile("^```" + language + "\n(.*?)^```", Pattern.MULTILINE | Pattern.DOTALL)
            .matcher(text);
    List<String> blocks = m.results().map(r -> r.group(1)).toList();
    return blocks.get(n);
  }
}
