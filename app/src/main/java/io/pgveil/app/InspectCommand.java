package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.datadir.check.Inspector;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What a file is. */
@Command(
    name = "inspect",
    description = {
      "Tell what a file of a cipher directory is: kind, scope, key entry, principal key, cipher,"
          + " fields of its page, WAL or seal header.",
      "Never prints key bytes."
    })
final class InspectCommand extends PgveilCommand {
  @Parameters(paramLabel = "FILE", description = "A file in a cipher directory, or a keyring.")
  Path file;

  @Option(
      names = "--block",
      defaultValue = "0",
      paramLabel = "N",
      description = "The page to look at, counted in this file. Default: ${DEFAULT-VALUE}.")
  int block;

  @Option(names = "--json", description = "Print JSON.")
  boolean json;

  @Override
  ExitCode run() throws CommandException {
    Path path = file.toAbsolutePath().normalize();
    if (!Files.exists(path)) {
      throw new CommandException(
          ExitCode.USAGE, "cannot inspect", path, "no such file, or not readable");
    }
    List<Inspector.Group> groups =
        storage().inspect(Inspector.cipherDirectoryOf(path), path, block);
    if (json) {
      Json.print(out(), groups);
    } else {
      groups.forEach(this::print);
    }
    out().flush();
    return ExitCode.OK;
  }

  private void print(Inspector.Group group) {
    out().println(group.title());
    int width = group.fields().stream().mapToInt(f -> f.name().length()).max().orElse(1);
    for (Inspector.Field f : group.fields()) {
      out().printf("  %-" + width + "s  %s%n", f.name(), f.value());
    }
  }
}
