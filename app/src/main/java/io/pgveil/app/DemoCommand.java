package io.pgveil.app;

import io.pgveil.app.daemon.StopRequest;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
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
    Path root;
    try {
      root = Files.createTempDirectory("pgveil-");
      Files.setPosixFilePermissions(root, Modes.of(0755));
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot make a temporary directory",
              System.getProperty("java.io.tmpdir"),
              CommandException.reason(e))
          .causedBy(e);
    }
    try {
      Demo demo =
          new Demo(
              storage(),
              root,
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
            root,
            "%d of %d checks".formatted(failed, checks.size()));
      }
      return ExitCode.OK;
    } catch (CancellationException e) {
      say("interrupted");
      return ExitCode.DEMO_FAILED;
    } catch (IOException | SQLException e) {
      throw new CommandException(ExitCode.DEMO_FAILED, "the demo failed", root, e.toString())
          .causedBy(e);
    } finally {
      remove(root);
    }
  }

  private void remove(Path root) {
    if (keep) {
      say("the files are in " + root);
      return;
    }
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      err().println("pgveil: cannot remove " + root + ": " + e);
    }
  }
}
