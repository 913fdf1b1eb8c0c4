package io.pgveil.app;

import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.CancellationException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What pgveil does, with evidence. */
@Command(
    name = "demo",
    description = {
      "Show in a temporary place, in about half a minute, that nothing is left in the clear and that"
          + " keys change as promised.",
      "Ends with code 0 only if every check gave the expected result."
    })
final class DemoCommand extends StoppableCommand {
  @Option(names = "--keep", description = "Leave the files there.")
  boolean keep;

  @Mixin PostgresOptions postgres = new PostgresOptions();
  @Mixin CipherOption cipher = new CipherOption();

  @Override
  ExitCode run(StopRequest stop) throws CommandException, InterruptedException {
    TemporaryRoot root = TemporaryRoot.make();
    try {
      Demo demo =
          new Demo(
              storage(),
              root.path(),
              postgres,
              cipher.keyBits(),
              isProgram(),
              this::say,
              stop::isRequested);
      List<Demo.Check> checks = demo.run();
      TextTable table = new TextTable("", "check", "evidence");
      checks.forEach(c -> table.row(c.passed() ? "ok" : "FAILED", c.name(), c.evidence()));
      out().println();
      out().print(table);
      out().flush();
      long failed = checks.stream().filter(c -> !c.passed()).count();
      if (failed > 0) {
        throw new CommandException(
            ExitCode.DEMO_FAILED,
            "the demo failed",
            root.path(),
            "%d of %d checks".formatted(failed, checks.size()));
      }
      return ExitCode.OK;
    } catch (CancellationException e) {
      say("interrupted");
      return ExitCode.DEMO_FAILED;
    } catch (IOException | SQLException e) {
      throw new CommandException(ExitCode.DEMO_FAILED, "the demo failed", root.path(), e.toString())
          .causedBy(e);
    } finally {
      if (keep) {
        say("the files are in " + root.path());
      } else {
        root.remove(err());
      }
    }
  }
}
