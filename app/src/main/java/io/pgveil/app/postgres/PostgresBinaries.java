package io.pgveil.app.postgres;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A directory of PostgreSQL programs, of which initdb and postgres are needed.
 *
 * @param directory the directory, absolute
 * @param version as the server prints it, for example {@code 18.1}
 * @param major major version, which the data directory must have too
 */
public record PostgresBinaries(Path directory, String version, int major) {
  private static final Pattern VERSION = Pattern.compile("\\(PostgreSQL\\) ((\\d+)[^\\s]*)");

  /** Looks at {@code directory} and asks the server there for its version. */
  public static PostgresBinaries in(Path directory) throws CommandException {
    Path bin = directory.toAbsolutePath().normalize();
    for (String program : List.of("initdb", "postgres")) {
      Path file = bin.resolve(program);
      if (!Files.isExecutable(file)) {
        throw new CommandException(
            ExitCode.POSTGRES_MISSING,
            "cannot use the PostgreSQL binaries",
            file,
            Files.exists(file) ? "not executable" : "no such file");
      }
    }
    String server = bin.resolve("postgres").toString();
    try {
      Child.Result result = Child.run(List.of(server, "--version"));
      Matcher matcher = VERSION.matcher(result.output());
      if (result.exitCode() == 0 && matcher.find()) {
        return new PostgresBinaries(bin, matcher.group(1), Integer.parseInt(matcher.group(2)));
      }
      throw new CommandException(
          ExitCode.POSTGRES_MISSING,
          "cannot use the PostgreSQL binaries",
          server,
          "does not print its version, but: " + result.output().strip());
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.POSTGRES_MISSING,
              "cannot use the PostgreSQL binaries",
              server,
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  /** Refuses a data directory of another major version. */
  public void requireMajor(int dataMajor, Object dataDirectory) throws CommandException {
    if (dataMajor != major) {
      throw new CommandException(
          ExitCode.POSTGRES_MISMATCH,
          "cannot start PostgreSQL",
          dataDirectory,
          "made by PostgreSQL %d, but %s holds %s".formatted(dataMajor, directory, version));
    }
  }

  String program(String name) {
    return directory.resolve(name).toString();
  }
}
