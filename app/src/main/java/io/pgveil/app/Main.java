package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.EncryptedStorage;
import io.pgveil.app.storage.Storage;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.ScopeType;

/** The program {@code pgveil}. */
@Command(
    name = "pgveil",
    description = "Transparent data encryption for the PostgreSQL you already run.",
    versionProvider = Main.Version.class,
    synopsisSubcommandLabel = "COMMAND",
    footer = {"", "'pgveil help errors' lists every exit code with its remedy."},
    subcommands = {
      UpCommand.class,
      DemoCommand.class,
      InitCommand.class,
      MountCommand.class,
      UmountCommand.class,
      StatusCommand.class,
      KeyCommand.class,
      ProviderCommand.class,
      ChangeKeyProviderCommand.class,
      VerifyCommand.class,
      InspectCommand.class,
      RehearseCommand.class,
      HelpCommand.class
    })
public final class Main extends GroupCommand {
  private static final String VERSION = "0.1.0";

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Print a stack trace with an error.")
  boolean debug;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      scope = ScopeType.INHERIT,
      description = "Show this help.")
  boolean help;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Print the versions of pgveil and of the JVM.")
  boolean version;

  private final Storage storage;
  private final boolean program;

  private Main(Storage storage, boolean program) {
    this.storage = storage;
    this.program = program;
  }

  /** Runs one command and ends the JVM with its exit code. */
  public static void main(String[] args) {
    if (args.length == 1 && (args[0].equals("--version") || args[0].equals("-V"))) {
      // asked for by scripts: without the time to look at every command
      for (String line : new Version().getVersion()) {
        System.out.println(line);
      }
      return;
    }
    System.exit(commandLine(new EncryptedStorage(), true).execute(args));
  }

  /**
   * The command line.
   *
   * @param program whether the commands have this JVM for themselves
   */
  public static CommandLine commandLine(Storage storage, boolean program) {
    return new CommandLine(new Main(storage, program))
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setExecutionExceptionHandler(Main::failed)
        .setParameterExceptionHandler(Main::misused);
  }

  private static int failed(Exception e, CommandLine command, ParseResult result) {
    PrintWriter err = command.getErr();
    ExitCode code;
    if (e instanceof CommandException failure) {
      err.println(failure.block());
      code = failure.exitCode();
    } else {
      code = ExitCode.INTERNAL;
      err.println("pgveil: internal error: %s: %s".formatted(command.getCommandName(), e));
      err.println("remedy: " + code.remedy());
    }
    if (((Main) command.getCommandSpec().root().userObject()).debug) {
      e.printStackTrace(err);
    }
    err.flush();
    return code.code();
  }

  private static int misused(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    PrintWriter err = command.getErr();
    String name = command.getCommandSpec().qualifiedName();
    err.println("pgveil: wrong command line: %s: %s".formatted(name, e.getMessage()));
    String topic = name.substring("pgveil".length());
    err.println("remedy: see 'pgveil help" + topic + "'");
    err.flush();
    return ExitCode.USAGE.code();
  }

  Storage storage() {
    return storage;
  }

  boolean isProgram() {
    return program;
  }

  /** Versions of pgveil and of the JVM. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {
        "pgveil " + VERSION,
        "%s %s".formatted(System.getProperty("java.vm.name"), Runtime.version())
      };
    }
  }
}
