package io.pgveil.app;

import io.pgveil.app.cluster.Layout;
import io.pgveil.app.control.ControlClient;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.keys.KeyProviderFactory;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;

/** The tool pg_tde_change_key_provider (pg_tde behaviour 10.1), with a check of the keys. */
@Command(
    name = "change-key-provider",
    customSynopsis =
        "pgveil change-key-provider [-D DIR] [--no-check] [DBOID] PROVIDER TYPE VALUE...",
    description = {
      "Tell a cluster where its key provider is now, when it moved while the server was down.",
      "The arguments are those of pg_tde_change_key_provider; options may also be given by name, as"
          + " for 'provider change'.",
      "Refused unless every key in use that comes from the provider is found at the new place with"
          + " the same bytes."
    })
final class ChangeKeyProviderCommand extends PgveilCommand {
  private static final String OID = "\\d+";

  @Option(
      names = {"-D", "--dir", "--pgdata"},
      paramLabel = "DIR",
      description =
          "Cipher directory, a directory made by 'up', or a data directory of pg_tde. Default: the"
              + " default directory of 'up'.")
  @Nullable Path directory;

  @Option(
      names = "--no-check",
      description =
          "Ask nobody. If the keys are not at the new place the cluster does not start until the"
              + " provider is changed again.")
  boolean unchecked;

  @Parameters(
      arity = "1..*",
      paramLabel = "[DBOID] PROVIDER TYPE VALUE",
      hideParamSyntax = true,
      completionCandidates = Types.class,
      description = {
        "DBOID: the database whose provider it is; without it, or 1664: a global one.",
        "PROVIDER: its name. TYPE: its type from now on.",
        "VALUE: the type's options as OPTION=VALUE, or their values in this order:"
            + " ${COMPLETION-CANDIDATES}."
      })
  List<String> arguments = List.of();

  /** The installed types with what they take by position, for the help text. */
  static final class Types extends FirstProviderOption.Types {
    @Override
    List<String> options(KeyProviderFactory factory) {
      return factory.positionalOptions();
    }
  }

  Request.ChangeProvider request() throws CommandException {
    Deque<String> rest = new ArrayDeque<>(arguments);
    Long database = null;
    if (rest.element().matches(OID)) {
      long oid = oid(rest.remove());
      database = oid == Scope.SERVER ? null : Long.valueOf(oid);
    }
    if (rest.size() < 3) {
      throw misused("too few arguments: a provider, its type and its options are needed");
    }
    String provider = rest.remove();
    String type = rest.remove();
    return new Request.ChangeProvider(provider, type, options(type, rest), database, unchecked);
  }

  private long oid(String text) {
    try {
      return new Scope().convert(text);
    } catch (TypeConversionException e) {
      throw misused(String.valueOf(e.getMessage()));
    }
  }

  private Map<String, String> options(String type, Deque<String> values) throws CommandException {
    KeyProviderFactory factory =
        KeyProviderFactory.installed().stream()
            .filter(f -> f.typeName().equals(type))
            .findFirst()
            .orElseThrow(
                () ->
                    new CommandException(
                        ExitCode.PROVIDER_UNKNOWN,
                        "cannot change a key provider",
                        type,
                        "there is no such type; the types are " + String.join(", ", new Types())));
    Map<String, String> options = new LinkedHashMap<>();
    Deque<String> positional = new ArrayDeque<>(factory.positionalOptions());
    for (String value : values) {
      int equals = value.indexOf('=');
      String name = value.substring(0, Math.max(0, equals));
      if (factory.optionNames().contains(name)) {
        value = value.substring(equals + 1);
      } else if (positional.isEmpty()) {
        throw misused("wrong number of arguments for \"" + type + "\"");
      } else {
        name = positional.remove();
      }
      if (options.put(name, value) != null) {
        throw misused("option " + name + " is given twice");
      }
    }
    return options;
  }

  private ParameterException misused(String reason) {
    return new ParameterException(spec.commandLine(), reason);
  }

  @Override
  ExitCode run() throws CommandException {
    Request request = request();
    Path cluster = Layout.cipherDirectory(directory == null ? Layout.defaultRoot() : directory);
    Reply.Done done = (Reply.Done) ControlClient.execute(cluster, request, storage()::open);
    out().println(done.text());
    out().flush();
    return ExitCode.OK;
  }
}
