package io.pgveil.app;

import io.pgveil.app.error.ExitCode;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;

/** Help on commands and on exit codes. */
@Command(
    name = "help",
    description = "Show help on a command, or, with 'errors', every exit code with its remedy.")
final class HelpCommand extends PgveilCommand {
  @Parameters(arity = "0..*", paramLabel = "COMMAND", description = "A command, or 'errors'.")
  List<String> topic = List.of();

  @Option(names = "--markdown", description = "Print the exit codes as docs/errors.md holds them.")
  boolean markdown;

  @Override
  ExitCode run() {
    if (topic.equals(List.of("errors"))) {
      out().print(markdown ? ExitCode.markdown() : ExitCode.table());
    } else {
      CommandLine command = spec.root().commandLine();
      for (String name : topic) {
        CommandLine next = command.getSubcommands().get(name);
        if (next == null) {
          throw new ParameterException(
              spec.commandLine(), "there is no command '" + String.join(" ", topic) + "'");
        }
        command = next;
      }
      command.usage(out());
    }
    out().flush();
    return ExitCode.OK;
  }
}
