package io.pgveil.app;

import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;

/** Key providers. */
@Command(
    name = "provider",
    description = "Add, change, list and delete key providers.",
    subcommands = {
      ProviderCommand.Add.class,
      ProviderCommand.Change.class,
      ProviderCommand.Delete.class,
      ProviderCommand.ListAll.class
    })
final class ProviderCommand extends GroupCommand {
  private static final String DATABASE =
      "One of this database's own providers (an OID); without it, a global one.";

  /** A provider of one database, or a global one. */
  abstract static class ScopedCommand extends PgveilCommand.RequestCommand {
    @Option(names = "--database", paramLabel = "OID", description = DATABASE)
    @Nullable Long database;
  }

  /** A provider with its type and options. */
  abstract static class DefinitionCommand extends ScopedCommand {
    @Parameters(index = "0", paramLabel = "NAME", description = "Name of the provider.")
    String name;

    @Parameters(
        index = "1",
        paramLabel = "TYPE",
        completionCandidates = FirstProviderOption.Types.class,
        description = "Type and its options: ${COMPLETION-CANDIDATES}.")
    String type;

    @Parameters(
        index = "2..*",
        arity = "1..*",
        paramLabel = "OPTION=VALUE",
        description = "Options of the type, for example path=/etc/pgveil/keyring.file")
    List<String> rest = List.of();

    /** The options; takes the directory off their end, where picocli cannot tell it from them. */
    Map<String, String> options() {
      Map<String, String> options = new LinkedHashMap<>();
      for (int i = 0; i < rest.size(); i++) {
        String argument = rest.get(i);
        int equals = argument.indexOf('=');
        if (equals > 0) {
          options.put(argument.substring(0, equals), argument.substring(equals + 1));
        } else if (i > 0 && i == rest.size() - 1) {
          cluster.parameter = Path.of(argument);
        } else {
          throw new ParameterException(
              spec.commandLine(), "'" + argument + "' is not of the form OPTION=VALUE");
        }
      }
      return options;
    }
  }

  @Command(name = "add", description = "Register a key provider; it must be reachable.")
  static final class Add extends DefinitionCommand {
    @Override
    Request request() {
      return new Request.AddProvider(name, type, options(), database);
    }
  }

  @Command(
      name = "change",
      description = {
        "Give a key provider another type or other options.",
        "Refused unless every key in use that comes from it is found there with the same bytes."
      })
  static final class Change extends DefinitionCommand {
    @Override
    Request request() {
      return new Request.ChangeProvider(name, type, options(), database, false);
    }
  }

  @Command(name = "delete", description = "Remove a key provider that no key in use comes from.")
  static final class Delete extends ScopedCommand {
    @Parameters(paramLabel = "NAME", description = "Name of the provider.")
    String name;

    @Override
    Request request() {
      return new Request.DeleteProvider(name, database);
    }
  }

  @Command(name = "list", description = "List key providers.")
  static final class ListAll extends ScopedCommand {
    @Option(names = "--json", description = "Print JSON.")
    boolean json;

    @Override
    Request request() {
      return new Request.ListProviders(database);
    }

    @Override
    void show(Reply reply) {
      if (json) {
        Json.print(out(), reply);
        return;
      }
      TextTable table = new TextTable("id", "name", "type", "options");
      for (Reply.Provider p : ((Reply.Providers) reply).providers()) {
        table.row(p.id(), p.name(), p.type(), p.options());
      }
      out().print(table);
    }
  }
}
