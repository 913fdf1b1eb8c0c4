package io.pgveil.app;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which PostgreSQL to run and as whom. */
final class PostgresOptions {
  @Option(
      names = "--pg-bindir",
      paramLabel = "DIR",
      description =
          "Directory of an installed PostgreSQL's programs (initdb, postgres). Default: the embedded"
              + " PostgreSQL.")
  @Nullable Path binDirectory;

  @Option(
      names = "--pg-version",
      paramLabel = "MAJOR",
      description = "Major version of the embedded PostgreSQL.")
  @Nullable Integer major;

  @Option(
      names = "--run-as",
      paramLabel = "USER",
      description =
          "When started by root: the user that PostgreSQL runs as. Default: postgres, else nobody.")
  @Nullable String runAs;
}
