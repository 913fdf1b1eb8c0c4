package io.pgveil.app;

import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Principal keys. */
@Command(
    name = "key",
    description = "Create, set (rotate), move, verify, list and delete principal keys.",
    subcommands = {
      KeyCommand.Create.class,
      KeyCommand.Set.class,
      KeyCommand.Move.class,
      KeyCommand.Verify.class,
      KeyCommand.Delete.class,
      KeyCommand.ListAll.class
    })
final class KeyCommand extends GroupCommand {
  private static final String SCOPE = "server, default, or the OID of a database.";
  private static final String DATABASE =
      "The provider is one of this database's own (an OID); without it, a global one.";

  @Command(
      name = "create",
      description = {
        "Make a new principal key in a key provider.",
        "Nothing uses it until it is set with 'pgveil key set'."
      })
  static final class Create extends PgveilCommand.RequestCommand {
    @Parameters(paramLabel = "NAME", description = "Name of the new key.")
    String name;

    @Option(
        names = "--provider",
        required = true,
        paramLabel = "NAME",
        description = "The key provider.")
    String provider;

    @Option(names = "--database", paramLabel = "OID", description = DATABASE)
    @Nullable Long database;

    @Override
    Request request() {
      return new Request.CreateKey(name, provider, database);
    }
  }

  @Command(
      name = "set",
      description = {
        "Make a principal key the one of a scope.",
        "A scope that has one is rotated: its internal keys are wrapped with the new key; no data"
            + " file is touched. The old key stays in its provider."
      })
  static final class Set extends PgveilCommand.RequestCommand {
    @Parameters(paramLabel = "NAME", description = "Name of an existing key.")
    String name;

    @Option(
        names = "--provider",
        required = true,
        paramLabel = "NAME",
        description = "The key provider that holds it.")
    String provider;

    @Option(
        names = "--scope",
        required = true,
        paramLabel = "SCOPE",
        converter = Scope.class,
        description = SCOPE)
    long scope;

    @Option(names = "--database", paramLabel = "OID", description = DATABASE)
    @Nullable Long database;

    @Override
    Request request() {
      return new Request.SetKey(scope, name, provider, database);
    }
  }

  @Command(
      name = "move",
      description = {
        "Bring a principal key to another key provider: the same name, the same bytes.",
        "Every scope that uses it takes it from there then; no data file is touched. The old copy"
            + " stays: old backups need it.",
        "If it is interrupted, the same command completes it."
      })
  static final class Move extends PgveilCommand.RequestCommand {
    @Parameters(paramLabel = "NAME", description = "Name of the key.")
    String name;

    @Option(
        names = "--from",
        required = true,
        paramLabel = "PROVIDER",
        description = "The key provider that holds it.")
    String from;

    @Option(names = "--database", paramLabel = "OID", description = DATABASE)
    @Nullable Long database;

    @Option(
        names = "--to",
        required = true,
        paramLabel = "PROVIDER",
        description = "The key provider that is to hold it, as 'provider add' has made it.")
    String to;

    @Option(
        names = "--to-database",
        paramLabel = "OID",
        description = "The same for the new provider.")
    @Nullable Long toDatabase;

    @Override
    Request request() {
      return new Request.MoveKey(name, from, database, to, toDatabase);
    }
  }

  @Command(
      name = "verify",
      description = "Fetch the principal key of a scope anew and compare it with the one in use.")
  static final class Verify extends PgveilCommand.RequestCommand {
    @Option(
        names = "--scope",
        required = true,
        paramLabel = "SCOPE",
        converter = Scope.class,
        description = SCOPE)
    long scope;

    @Override
    Request request() {
      return new Request.VerifyKey(scope);
    }
  }

  @Command(
      name = "delete",
      description = {
        "Take the principal key off a scope; it stays in its provider.",
        "A database with encrypted files falls back to the default key; a key that is needed is not"
            + " deleted."
      })
  static final class Delete extends PgveilCommand.RequestCommand {
    @Option(
        names = "--scope",
        required = true,
        paramLabel = "SCOPE",
        converter = Scope.class,
        description = "default, or the OID of a database.")
    long scope;

    @Override
    Request request() {
      return new Request.DeleteKey(scope);
    }
  }

  @Command(name = "list", description = "List the principal key of every scope.")
  static final class ListAll extends PgveilCommand.RequestCommand {
    @Option(names = "--json", description = "Print JSON.")
    boolean json;

    @Override
    Request request() {
      return new Request.ListKeys();
    }

    @Override
    void show(Reply reply) {
      if (json) {
        Json.print(out(), reply);
      } else {
        out().print(table(((Reply.Keys) reply).keys()));
      }
    }
  }

  /** Scopes and their keys as lines of text. */
  static String table(List<Reply.ScopeKey> keys) {
    TextTable table = new TextTable("scope", "principal key", "provider", "set", "internal keys");
    for (Reply.ScopeKey k : keys) {
      table.row(
          Scope.name(k.oid()),
          k.key() == null ? "-" : k.key(),
          k.provider() == null ? "-" : k.provider(),
          k.created() == null ? "-" : k.created(),
          k.internalKeys());
    }
    return table.toString();
  }
}
