package io.pgveil.tests.command;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A Java agent, started with the daemon, that dumps the heap when told to through a named pipe: the
 * daemon itself takes no such order from anybody. It knows nothing of the other tests, which are
 * not there; {@link HeapDumps} is their end of the pipe.
 */
final class HeapDumper {
  static final String DONE = "heap dumped to ";

  private HeapDumper() {}

  /** Started by the JVM: {@code pipe} is where the name of the dump will be read from. */
  public static void premain(String pipe) {
    Thread.ofPlatform()
        .daemon()
        .start(
            () -> {
              try {
                String file = Files.readString(Path.of(pipe));
                ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
                    .dumpHeap(file, false);
                System.err.println(DONE + file);
              } catch (IOException e) {
                System.err.println("no heap dump: " + e);
              }
            });
  }
}
