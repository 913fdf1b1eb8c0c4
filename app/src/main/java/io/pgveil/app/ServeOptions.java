package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.metrics.MetricsAddress;
import io.pgveil.app.storage.Storage;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import org.slf4j.event.Level;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

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
      defaultValue = "60",
      paramLabel = "SECONDS",
      description =
          "How long to wait at the start for a key provider that does not answer. Default:"
              + " ${DEFAULT-VALUE}.")
  long providerWaitSeconds;

  @Option(
      names = "--provider-check",
      defaultValue = "60",
      paramLabel = "SECONDS",
      description =
          "How often to look whether the key providers still give the principal keys in use; 0:"
              + " never. Default: ${DEFAULT-VALUE}.")
  long providerCheckSeconds;

  @Option(
      names = "--on-kms-unavailable",
      defaultValue = "cached",
      paramLabel = "POLICY",
      converter = OutagePolicy.Converter.class,
      description = {
        "While a key provider does not give a principal key in use: 'cached' goes on with the key in"
            + " memory; 'fail' answers EIO for relation files whose internal keys are not in use;"
            + " 'grace:TIME' refuses them after that time, such as 90s, 15m or 12h. WAL"
            + " and pg_control are never refused. Default: ${DEFAULT-VALUE}."
      })
  OutagePolicy onKmsUnavailable;

  @Option(
      names = "--metrics",
      paramLabel = "ADDRESS",
      converter = MetricsConverter.class,
      description =
          "Serve metrics for Prometheus at unix:/PATH (mode 0600), or at a port of this machine"
              + " alone, such as 127.0.0.1:9187. Default: nowhere.")
  @Nullable MetricsAddress metrics;

  @Option(
      names = "--workers",
      defaultValue = "4",
      paramLabel = "N",
      description = "Threads that answer the kernel. Default: ${DEFAULT-VALUE}.")
  int workers;

  static final class MetricsConverter implements ITypeConverter<MetricsAddress> {
    @Override
    public MetricsAddress convert(String value) {
      try {
        return MetricsAddress.parse(value);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  /**
   * What to do while a principal key cannot be had.
   *
   * @param refuseAfter null: nothing
   */
  record OutagePolicy(@Nullable Duration refuseAfter) {
    static final class Converter implements ITypeConverter<OutagePolicy> {
      @Override
      public OutagePolicy convert(String value) {
        return switch (value) {
          case "cached" -> new OutagePolicy(null);
          case "fail" -> new OutagePolicy(Duration.ZERO);
          default -> {
            if (!value.matches("grace[: ][1-9][0-9]{0,8}[smh]")) {
              throw new TypeConversionException(
                  "'%s' is not cached, fail, or grace:TIME with a TIME such as 90s, 15m or 12h"
                      .formatted(value));
            }
            long number = Long.parseLong(value.substring(6, value.length() - 1));
            yield new OutagePolicy(
                switch (value.charAt(value.length() - 1)) {
                  case 's' -> Duration.ofSeconds(number);
                  case 'm' -> Duration.ofMinutes(number);
                  default -> Duration.ofHours(number);
                });
          }
        };
      }
    }
  }

  Storage.Serving serving() throws CommandException {
    if (onKmsUnavailable.refuseAfter != null && providerCheckSeconds <= 0) {
      throw new CommandException(
          ExitCode.USAGE,
          "cannot serve",
          "--on-kms-unavailable",
          "a provider that is not looked at is never seen to fail; give --provider-check a time");
    }
    return new Storage.Serving(
        acceptTornPages,
        Duration.ofSeconds(providerWaitSeconds),
        Duration.ofSeconds(providerCheckSeconds),
        onKmsUnavailable.refuseAfter,
        workers);
  }
}
