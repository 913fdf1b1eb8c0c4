package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;
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

  @Override
  ExitCode run() throws CommandException {
    Path path = file.toAbsolutePath().normalize();
    if (!Files.exists(path)) {
      throw new CommandException(
          ExitCode.USAGE, "cannot inspect", path, "no such file, or not readable");
    }
    Path cipher = cipherDirectoryOf(path);
    if (cipher == null) {
      throw new CommandException(
          ExitCode.CIPHER_DIR_FOREIGN, "cannot inspect", path, "it is in no cipher directory");
    }
    Map<String, String> facts = storage().inspect(cipher, path);
    if (json) {
      Json.print(out(), facts);
    } else {
      int width = facts.keySet().stream().mapToInt(String::length).max().orElse(1);
      facts.forEach((name, value) -> out().printf("%-" + width + "s  %s%n", name, value));
    }
    out().flush();
    return ExitCode.OK;
  }

  private static @Nullable Path cipherDirectoryOf(Path file) throws CommandException {
    for (Path p = file.getParent(); p != null; p = p.getParent()) {
      if (CipherDirectory.kind(p) == CipherDirectory.Kind.PGVEIL) {
        return p;
      }
    }
    return null;
  }
}
