package io.pgveil.fuse;

import io.pgveil.linux.Posix;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.net.URI;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;

/** A main class of this test source in a process of its own, ended with the test. */
final class ChildJvm implements AutoCloseable {
  final Process process;
  private final BufferedReader output;
  private final Writer input;

  ChildJvm(List<String> command) throws IOException {
    process = new ProcessBuilder(command).redirectErrorStream(true).start();
    output = process.inputReader();
    input = process.outputWriter();
  }

  static ChildJvm start(Class<?> main, String... arguments) throws IOException {
    return new ChildJvm(command(classPath(), main, arguments));
  }

  static List<String> command(List<Path> classPath, Class<?> main, String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:+UseSerialGC");
    command.add("-XX:TieredStopAtLevel=1");
    command.add("-Xmx64m");
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("-cp");
    command.add(String.join(":", classPath.stream().map(Path::toString).toList()));
    command.add(main.getName());
    command.addAll(List.of(arguments));
    return command;
  }

  static List<Path> classPath() {
    return List.of(
        origin(ChildJvm.class),
        origin(FuseSession.class),
        origin(Posix.class),
        origin(Logger.class));
  }

  /** The folder or jar that a class was loaded from. */
  private static Path origin(Class<?> c) {
    String name = c.getName().replace('.', '/') + ".class";
    String url = String.valueOf(c.getResource("/" + name));
    if (url.startsWith("jar:")) {
      return Path.of(URI.create(url.substring(4, url.indexOf("!/"))));
    }
    Path file = Path.of(URI.create(url));
    return file.getRoot()
        .resolve(file.subpath(0, file.getNameCount() - Path.of(name).getNameCount()));
  }

  /** Copies the class path to a place that another user can read. */
  static List<Path> copyClassPath(Path to) throws IOException {
    List<Path> copies = new ArrayList<>();
    for (Path from : classPath()) {
      Path copy = to.resolve("cp" + copies.size() + (Files.isDirectory(from) ? "" : ".jar"));
      Files.walkFileTree(
          from,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes a)
                throws IOException {
              Files.createDirectories(copy.resolve(from.relativize(dir).toString()));
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes a) throws IOException {
              Files.copy(
                  file, file.equals(from) ? copy : copy.resolve(from.relativize(file).toString()));
              return FileVisitResult.CONTINUE;
            }
          });
      copies.add(copy);
    }
    return copies;
  }

  /** Reads lines until one starts with {@code word}; fails with all of them if none does. */
  String await(String word) {
    StringBuilder seen = new StringBuilder();
    try {
      for (String line = output.readLine(); line != null; line = output.readLine()) {
        if (line.startsWith(word)) {
          return line;
        }
        seen.append(line).append('\n');
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    throw new AssertionError("The process ended without " + word + ":\n" + seen);
  }

  void send(String line) throws IOException {
    input.write(line + "\n");
    input.flush();
  }

  @Override
  public void close() throws Exception {
    process.destroyForcibly();
    process.waitFor();
  }
}
