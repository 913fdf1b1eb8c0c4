package io.pgveil.app;

import io.pgveil.app.cluster.Layout;
import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.Storage;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** What all commands share. */
abstract class PgveilCommand implements Callable<Integer> {
  @Spec CommandSpec spec;

  /** Does the work. */
  abstract ExitCode run() throws CommandException, InterruptedException;

  @Override
  public final Integer call() throws CommandException, InterruptedException {
    return run().code();
  }

  Storage storage() {
    return main().storage();
  }

  /** Whether this process may change itself for its task; tests run commands in their own JVM. */
  boolean isProgram() {
    return main().isProgram();
  }

  private Main main() {
    return (Main) spec.root().userObject();
  }

  PrintWriter out() {
    return spec.commandLine().getOut();
  }

  PrintWriter err() {
    return spec.commandLine().getErr();
  }

  /** Prints one step of longer work. */
  void say(String step) {
    out().println("pgveil: " + step);
    out().flush();
  }

  /** The cluster that a command works on, named by {@code -D} or as the last parameter. */
  static final class ClusterOption {
    @Spec(Spec.Target.MIXEE)
    CommandSpec mixee;

    @Option(
        names = {"-D", "--dir"},
        paramLabel = "DIR",
        description = "The same as the parameter DIR.")
    @Nullable Path option;

    @Parameters(
        index = "+",
        arity = "0..1",
        paramLabel = "DIR",
        description =
            "Cipher directory, or a directory made by 'up'. Default: the default directory of 'up'.")
    @Nullable Path parameter;

    Path cipherDirectory() {
      if (option != null && parameter != null) {
        throw new ParameterException(
            mixee.commandLine(), "the directory is given twice: " + option + ", " + parameter);
      }
      Path directory = option != null ? option : parameter;
      return Layout.cipherDirectory(directory == null ? Layout.defaultRoot() : directory);
    }
  }

  /** A command that is one request to a cluster, stopped or mounted. */
  abstract static class RequestCommand extends PgveilCommand {
    @Mixin ClusterOption cluster = new ClusterOption();

    abstract Request request() throws CommandException;

    /** Prints the answer. */
    void show(Reply reply) {
      if (reply instanceof Reply.Done done) {
        out().println(done.text());
      } else {
        throw new IllegalStateException("unexpected reply " + reply);
      }
    }

    @Override
    final ExitCode run() throws CommandException {
      Request request = request();
      show(ControlClient.execute(cluster.cipherDirectory(), request, storage()::open));
      out().flush();
      return ExitCode.OK;
    }
  }
}
