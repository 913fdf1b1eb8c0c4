package io.pgveil.tests.command;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;

/**
 * A process that leaks keys on purpose, wherever they are looked for: what must be found. It has
 * them in its arguments and on its heap; it prints them, logs them, writes them to a file, dumps
 * its heap and hands them to a child in the environment.
 */
final class Leak {
  private Leak() {}

  /**
   * Takes a directory and keys in hexadecimal, leaks them, prints {@code ready}, and waits to be
   * killed.
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    Path directory = Path.of(args[0]);
    List<String> hex = Arrays.asList(args).subList(1, args.length);
    byte[][] inMemory = hex.stream().map(HexFormat.of()::parseHex).toArray(byte[][]::new);
    Files.write(directory.resolve("leak.log"), hex);
    Files.createDirectory(directory.resolve("files"));
    for (int i = 0; i < inMemory.length; i++) {
      Files.write(directory.resolve("files").resolve("leak." + i), inMemory[i]);
    }
    ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
        .dumpHeap(directory.resolve("leak.hprof").toString(), false);
    ProcessBuilder child = new ProcessBuilder("true");
    for (int i = 0; i < inMemory.length; i++) {
      child.environment().put("LEAK" + i, Base64.getEncoder().encodeToString(inMemory[i]));
    }
    child.start().waitFor();
    hex.forEach(System.out::println);
    System.out.println("ready");
    while (inMemory.length > 0) {
      Thread.sleep(Long.MAX_VALUE);
    }
  }
}
