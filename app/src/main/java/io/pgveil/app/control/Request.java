package io.pgveil.app.control;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a command asks of a cluster: a value that is executed in this process when the cluster is
 * stopped and sent to the daemon when it is mounted. Holds names and paths, never key material.
 *
 * <p>{@code database} is the OID of the database whose own providers are meant, null for the global
 * ones. {@code scope} is the OID of a database, 1664 for the server key, 1663 for the default key.
 */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "command")
@JsonSubTypes({
  @JsonSubTypes.Type(name = "status", value = Request.Status.class),
  @JsonSubTypes.Type(name = "key-create", value = Request.CreateKey.class),
  @JsonSubTypes.Type(name = "key-set", value = Request.SetKey.class),
  @JsonSubTypes.Type(name = "key-move", value = Request.MoveKey.class),
  @JsonSubTypes.Type(name = "key-verify", value = Request.VerifyKey.class),
  @JsonSubTypes.Type(name = "key-delete", value = Request.DeleteKey.class),
  @JsonSubTypes.Type(name = "key-list", value = Request.ListKeys.class),
  @JsonSubTypes.Type(name = "provider-add", value = Request.AddProvider.class),
  @JsonSubTypes.Type(name = "provider-change", value = Request.ChangeProvider.class),
  @JsonSubTypes.Type(name = "provider-delete", value = Request.DeleteProvider.class),
  @JsonSubTypes.Type(name = "provider-list", value = Request.ListProviders.class)
})
@JsonInclude(JsonInclude.Include.NON_NULL)
public sealed interface Request {
  /** Whether it leaves every file as it is. */
  default boolean changesNothing() {
    return switch (this) {
      case Status _, VerifyKey _, ListKeys _, ListProviders _ -> true;
      case CreateKey _,
          SetKey _,
          MoveKey _,
          DeleteKey _,
          AddProvider _,
          ChangeProvider _,
          DeleteProvider _ ->
          false;
    };
  }

  /** Refuses what no command sends, before it reaches somebody who would have to think of it. */
  private static void check(@Nullable Long database, @Nullable String... names) {
    for (String name : names) {
      Objects.requireNonNull(name, "a name is missing");
    }
    if (database != null) {
      checkOid(database);
    }
  }

  private static void checkOid(long oid) {
    if (oid < 0 || oid > 0xffff_ffffL) {
      throw new IllegalArgumentException(oid + " is no OID");
    }
  }

  /** A copy, in the order of the original: options are stored as they were given. */
  private static Map<String, String> ordered(Map<String, String> options) {
    Map<String, String> copy = new LinkedHashMap<>();
    options.forEach((name, value) -> copy.put(name, Objects.requireNonNull(value, name)));
    return Collections.unmodifiableMap(copy);
  }

  /** Scopes, principal keys, numbers of internal keys and WAL ranges. */
  record Status() implements Request {}

  /** Makes a new principal key in a provider; nothing uses it yet. */
  record CreateKey(String key, String provider, @Nullable Long database) implements Request {
    public CreateKey {
      check(database, key, provider);
    }
  }

  /** Makes a principal key the one of a scope, rotating to it if the scope has one. */
  record SetKey(long scope, String key, String provider, @Nullable Long database)
      implements Request {
    public SetKey {
      checkOid(scope);
      check(database, key, provider);
    }
  }

  /**
   * Brings a principal key to another provider and switches the scopes that use it.
   *
   * @param database whose provider {@code from} is
   * @param toDatabase whose provider {@code to} is
   */
  record MoveKey(
      String key, String from, @Nullable Long database, String to, @Nullable Long toDatabase)
      implements Request {
    public MoveKey {
      check(database, key, from, to);
      check(toDatabase);
    }
  }

  /** Fetches the principal key of a scope anew and compares it with the one in use. */
  record VerifyKey(long scope) implements Request {
    public VerifyKey {
      checkOid(scope);
    }
  }

  /** Takes the principal key off a scope; it stays in its provider. */
  record DeleteKey(long scope) implements Request {
    public DeleteKey {
      checkOid(scope);
    }
  }

  /** The principal key of every scope. */
  record ListKeys() implements Request {}

  /** Registers a key provider. */
  record AddProvider(
      String provider, String type, Map<String, String> options, @Nullable Long database)
      implements Request {
    public AddProvider {
      check(database, provider, type);
      options = ordered(options);
    }
  }

  /**
   * Gives a key provider other options, after proving that they lead to the keys in use.
   *
   * @param unchecked without that proof
   */
  record ChangeProvider(
      String provider,
      String type,
      Map<String, String> options,
      @Nullable Long database,
      boolean unchecked)
      implements Request {
    public ChangeProvider {
      check(database, provider, type);
      options = ordered(options);
    }
  }

  /** Removes a key provider that no key in use comes from. */
  record DeleteProvider(String provider, @Nullable Long database) implements Request {
    public DeleteProvider {
      check(database, provider);
    }
  }

  /** The key providers of a database, or the global ones. */
  record ListProviders(@Nullable Long database) implements Request {
    public ListProviders {
      check(database);
    }
  }
}
