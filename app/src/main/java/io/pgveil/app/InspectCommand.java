package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.datadir.check.Inspector;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
  @Parameters(paramLabel = "FILE", description = "A file in a cipher directory.")
  Path file;

  @Option(names = "--json", description = "Print JSON.")
  boolean json;

  @Option(
      names = "--block",
      paramLabel = "N",
      defaultValue = "0",
      description = "Page to look at in a relation or WAL file, from 0. Default: ${DEFAULT-VALUE}.")
  int block;

  @Override
  ExitCode run() throws CommandException {
    Path path = file.toAbsolutePath().normalize();
    if (!Files.exists(path)) {
      throw new CommandException(
          ExitCode.USAGE, "cannot inspect", path, "no such file, or not readable");
    }
    // a keyring lies in none, and is described all the same
    Path cipher = Inspector.cipherDirectoryOf(path);
    if (cipher == null) {
      cipher = Objects.requireNonNullElse(path.getParent(), path);
    }
    List<Inspector.Group> groups = storage().inspect(cipher, path, block);
    if (json) {
      Map<String, Map<String, String>> all = new LinkedHashMap<>();
      for (Inspector.Group g : groups) {
        Map<String, String> fields = new LinkedHashMap<>();
        g.fields().forEach(f -> fields.put(f.name(), f.value()));
        all.put(g.title(), fields);
      }
      Json.print(out(), all);
    } else {
      int width =
          groups.stream()
              .flatMap(g -> g.fields().stream())
              .mapToInt(f -> f.name().length())
              .max()
              .orElse(1);
      for (Inspector.Group g : groups) {
        out().println(g.title());
        g.fields().forEach(f -> out().printf("  %-" + width + "s  %s%n", f.name(), f.value()));
      }
    }
    out().flush();
    return ExitCode.OK;
  }
}
