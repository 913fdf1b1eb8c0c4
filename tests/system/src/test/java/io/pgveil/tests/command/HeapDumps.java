package io.pgveil.tests.command;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;

/** Heap dumps of a JVM that was started with a {@link HeapDumper}. */
final class HeapDumps {
  private HeapDumps() {}

  /** The options for a JVM that has the agent, whose files lie in {@code directory}. */
  static String options(Path directory) throws IOException {
    Manifest manifest = new Manifest();
    manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
    manifest.getMainAttributes().putValue("Premain-Class", HeapDumper.class.getName());
    Path jar = directory.resolve("agent.jar");
    String name = HeapDumper.class.getName().replace('.', '/') + ".class";
    try (OutputStream file = Files.newOutputStream(jar);
        JarOutputStream out = new JarOutputStream(file, manifest);
        var in = HeapDumper.class.getClassLoader().getResourceAsStream(name)) {
      out.putNextEntry(new JarEntry(name));
      in.transferTo(out);
    }
    Path pipe = directory.resolve("pipe");
    Command.Result made = Command.of("mkfifo", pipe).run();
    if (made.code() != 0) {
      throw new IOException(made.all());
    }
    return "--add-modules=jdk.management -javaagent:" + jar + "=" + pipe;
  }

  /** Has {@code process}, which was started with {@link #options}, dump its heap. */
  static Path dump(Running process, Path directory) throws IOException, InterruptedException {
    Path file = directory.resolve("daemon.hprof");
    Files.writeString(directory.resolve("pipe"), file.toString());
    process.await(HeapDumper.DONE + file);
    return file;
  }
}
