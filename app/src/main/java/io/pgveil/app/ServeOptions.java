package io.pgveil.app;

import java.time.Duration;
import org.slf4j.event.Level;
import picocli.CommandLine.Option;

/** Options of the commands that serve a mount. */
final class ServeOptions {
  @Option(
      names = "--log-level",
      defaultValue = "INFO",
      paramLabel = "LEVEL",
      description = "ERROR, WARN, INFO, DEBUG or TRACE. Default: ${DEFAULT-VALUE}.")
  Level logLevel;

  @Option(
      names = "--accept-torn-pages",
      description =
          "Serve a cluster without data checksums and wal_log_hints, or with full_page_writes off,"
              + " although a power cut can damage encrypted pages unseen.")
  boolean acceptTornPages;

  @Option(
      names = "--provider-wait",
      defaultValue = "30",
      paramLabel = "SECONDS",
      description =
          "How long to wait for a key provider that does not answer. Default: ${DEFAULT-VALUE}.")
  long providerWaitSeconds;

  @Option(
      names = "--workers",
      defaultValue = "4",
      paramLabel = "N",
      description = "Threads that answer the kernel. Default: ${DEFAULT-VALUE}.")
  int workers;

  Duration providerWait() {
    return Duration.ofSeconds(providerWaitSeconds);
  }
}
