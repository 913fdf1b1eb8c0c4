package io.pgveil.app.storage;

import static java.util.stream.Collectors.joining;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgveil.app.control.Executor;
import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.CommandException;
import io.pgveil.keys.AddProvider;
import io.pgveil.keys.ChangeProvider;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.CreateKey;
import io.pgveil.keys.DeleteDefaultKey;
import io.pgveil.keys.DeleteKey;
import io.pgveil.keys.DeleteProvider;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.KeyWatch;
import io.pgveil.keys.ListProviders;
import io.pgveil.keys.MoveKey;
import io.pgveil.keys.PrincipalKeys;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SetKey;
import io.pgveil.keys.VerifyKey;
import io.pgveil.keys.WalRange;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Executes key and provider commands on an open key directory, mounted or not. */
final class KeyCommands implements Executor {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path cipherDirectory;
  private final @Nullable Path mountPoint;
  private final KeyDirectory keys;
  private final CipherType cipher;

  KeyCommands(
      Path cipherDirectory, @Nullable Path mountPoint, KeyDirectory keys, CipherType cipher) {
    this.cipherDirectory = cipherDirectory;
    this.mountPoint = mountPoint;
    this.keys = keys;
    this.cipher = cipher;
  }

  @Override
  public Reply execute(Request request) throws CommandException {
    try {
      return switch (request) {
        case Request.Status s -> status();
        case Request.CreateKey r -> {
          new CreateKey(owner(r.database()), r.provider(), r.key(), cipher).run(keys);
          yield new Reply.Done("created principal key " + r.key() + " in " + r.provider());
        }
        case Request.SetKey r -> {
          Scope scope = new Scope((int) r.scope());
          new SetKey(scope, owner(r.database()), r.provider(), r.key()).run(keys);
          yield new Reply.Done("principal key of " + scope + " is now " + r.key());
        }
        case Request.MoveKey r -> {
          List<Scope> switched =
              new MoveKey(r.key(), owner(r.database()), r.from(), owner(r.toDatabase()), r.to())
                  .run(keys);
          yield new Reply.Done(
              "moved principal key %s to %s%s"
                  .formatted(
                      r.key(),
                      r.to(),
                      switched.isEmpty()
                          ? "; nothing used it from " + r.from()
                          : " for "
                              + switched.stream().map(Scope::toString).collect(joining(", "))));
        }
        case Request.VerifyKey r -> {
          Scope scope = new Scope((int) r.scope());
          new VerifyKey(scope).run(keys);
          yield new Reply.Done("principal key of " + scope + " is right");
        }
        case Request.DeleteKey r -> {
          Scope scope = new Scope((int) r.scope());
          if (scope.equals(Scope.DEFAULT)) {
            new DeleteDefaultKey().run(keys);
          } else {
            new DeleteKey(scope).run(keys);
          }
          yield new Reply.Done("principal key of " + scope + " was taken off");
        }
        case Request.ListKeys l -> new Reply.Keys(scopeKeys());
        case Request.AddProvider r -> {
          int id =
              new AddProvider(owner(r.database()), r.type(), r.provider(), json(r.options()))
                  .run(keys);
          yield new Reply.Done("added key provider " + r.provider() + ", id " + id);
        }
        case Request.ChangeProvider r -> {
          new ChangeProvider(
                  owner(r.database()), r.type(), r.provider(), json(r.options()), r.unchecked())
              .run(keys);
          yield new Reply.Done("changed key provider " + r.provider());
        }
        case Request.DeleteProvider r -> {
          new DeleteProvider(owner(r.database()), r.provider()).run(keys);
          yield new Reply.Done("deleted key provider " + r.provider());
        }
        case Request.ListProviders r -> {
          List<Reply.Provider> out = new ArrayList<>();
          for (ListProviders.Item i : new ListProviders(owner(r.database())).run(keys)) {
            out.add(new Reply.Provider(i.id(), i.name(), i.type(), options(i.options())));
          }
          yield new Reply.Providers(out);
        }
      };
    } catch (KeyException e) {
      throw request instanceof Request.ChangeProvider change
          ? Failures.atNewPlace(failed(change), e, change.type(), change.options())
          : Failures.of(failed(request), e, keys);
    }
  }

  /** What could not be done, with its object. */
  private static String failed(Request request) {
    return switch (request) {
      case Request.Status _ -> "cannot tell the state";
      case Request.CreateKey r ->
          "cannot create principal key %s in %s".formatted(r.key(), r.provider());
      case Request.SetKey r -> "cannot set principal key %s of %s".formatted(r.key(), r.provider());
      case Request.MoveKey r ->
          "cannot move principal key %s from %s to %s".formatted(r.key(), r.from(), r.to());
      case Request.VerifyKey r ->
          "cannot verify the principal key of " + new Scope((int) r.scope());
      case Request.DeleteKey r ->
          "cannot take off the principal key of " + new Scope((int) r.scope());
      case Request.ListKeys _ -> "cannot list the principal keys";
      case Request.AddProvider r -> "cannot add key provider " + r.provider();
      case Request.ChangeProvider r -> "cannot change key provider " + r.provider();
      case Request.DeleteProvider r -> "cannot delete key provider " + r.provider();
      case Request.ListProviders _ -> "cannot list the key providers";
    };
  }

  private static Scope owner(@Nullable Long database) {
    return database == null ? Scope.SERVER : new Scope((int) (long) database);
  }

  private Reply status() throws KeyException {
    List<WalRange> ranges = keys.walKeys().ranges();
    boolean encrypted = !ranges.isEmpty() && ranges.getLast().type() == WalRange.Type.ENCRYPTED;
    List<String> warnings = new ArrayList<>();
    if (!ranges.isEmpty() && !encrypted) {
      warnings.add("pg_tde.wal_encrypt is off: WAL is written in the clear");
    }
    for (KeyWatch.Trouble t : keys.watch().troubles()) {
      warnings.add(
          "PRINCIPAL KEY \"%s\" CANNOT BE HAD from key provider \"%s\" since %s: %s; give it back, the next start needs it"
              .formatted(t.key(), t.provider(), t.since(), t.reason()));
    }
    return new Reply.Status(
        cipherDirectory.toString(),
        mountPoint == null ? null : mountPoint.toString(),
        mountPoint == null ? null : ProcessHandle.current().pid(),
        scopeKeys(),
        keys.walKeys().count(),
        encrypted,
        mountPoint == null ? List.of() : providers(),
        warnings);
  }

  private List<Reply.ProviderHealth> providers() {
    return keys.providerHealth().states().stream()
        .map(
            s ->
                new Reply.ProviderHealth(
                    s.name(),
                    s.isFailing(),
                    s.requests(),
                    s.failures(),
                    s.lastSuccess() == null ? null : s.lastSuccess().toString(),
                    s.lastFailure() == null ? null : s.lastFailure().toString(),
                    s.lastError()))
        .toList();
  }

  private List<Reply.ScopeKey> scopeKeys() throws KeyException {
    List<Reply.ScopeKey> out = new ArrayList<>();
    out.add(scopeKey("server", Scope.SERVER, keys.relationKeys(0).count()));
    out.add(scopeKey("default", Scope.DEFAULT, 0));
    for (int oid : keys.databases()) {
      if (oid != 0) {
        out.add(scopeKey("database", new Scope(oid), keys.relationKeys(oid).count()));
      }
    }
    return out;
  }

  private Reply.ScopeKey scopeKey(String kind, Scope scope, int internalKeys) throws KeyException {
    PrincipalKeys.Info i = keys.principalKeys().info(scope);
    return new Reply.ScopeKey(
        kind,
        Integer.toUnsignedLong(scope.oid()),
        i == null ? null : i.name(),
        i == null ? null : i.providerName(),
        i == null ? null : i.providerId(),
        i == null ? null : i.created().toString(),
        internalKeys);
  }

  static String json(Map<String, String> options) {
    try {
      return JSON.writeValueAsString(options);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a map of strings has a JSON form", e);
    }
  }

  static Map<String, String> options(String json) {
    Map<String, String> out = new LinkedHashMap<>();
    try {
      for (Map.Entry<String, JsonNode> e : JSON.readTree(json).properties()) {
        if (!e.getValue().isNull()) {
          out.put(e.getKey(), e.getValue().asText());
        }
      }
    } catch (JsonProcessingException e) {
      out.put("unreadable", json);
    }
    return out;
  }
}
