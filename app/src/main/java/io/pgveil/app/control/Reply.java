package io.pgveil.app.control;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Answer to a {@link Request}. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "reply")
@JsonSubTypes({
  @JsonSubTypes.Type(name = "done", value = Reply.Done.class),
  @JsonSubTypes.Type(name = "status", value = Reply.Status.class),
  @JsonSubTypes.Type(name = "keys", value = Reply.Keys.class),
  @JsonSubTypes.Type(name = "providers", value = Reply.Providers.class),
  @JsonSubTypes.Type(name = "failed", value = Reply.Failed.class)
})
@JsonInclude(JsonInclude.Include.NON_NULL)
public sealed interface Reply {
  /** It was done, as one line of text. */
  record Done(String text) implements Reply {
    public Done {
      Objects.requireNonNull(text);
    }
  }

  /** It could not be done; nothing was changed. */
  record Failed(ExitCode exitCode, String message, String remedy) implements Reply {
    public Failed {
      Objects.requireNonNull(exitCode);
      Objects.requireNonNull(message);
      Objects.requireNonNull(remedy);
    }

    static Failed of(CommandException e) {
      return new Failed(e.exitCode(), String.valueOf(e.getMessage()), e.remedy());
    }

    CommandException toException() {
      return new CommandException(exitCode, message, remedy);
    }
  }

  /**
   * State of a cluster.
   *
   * @param mountPoint where it is mounted, null if it is not
   * @param pid the daemon, null if there is none
   * @param scopes every scope that has a principal key or internal keys
   * @param walRanges number of WAL ranges
   * @param walEncrypted whether the newest range is encrypted
   * @param providers how the key providers have answered the daemon; empty without one
   * @param warnings what is not as it should be
   */
  record Status(
      String cipherDirectory,
      @Nullable String mountPoint,
      @Nullable Long pid,
      List<ScopeKey> scopes,
      int walRanges,
      boolean walEncrypted,
      List<ProviderHealth> providers,
      List<String> warnings)
      implements Reply {
    public Status {
      Objects.requireNonNull(cipherDirectory);
      scopes = List.copyOf(scopes);
      providers = List.copyOf(providers);
      warnings = List.copyOf(warnings);
    }
  }

  /**
   * The answers of a key provider since the daemon started; times are ISO 8601.
   *
   * @param failing whether the last request failed
   * @param lastSuccess null if there was none
   * @param lastFailure null if there was none
   * @param lastError what the last failure was
   */
  record ProviderHealth(
      String name,
      boolean failing,
      long requests,
      long failures,
      @Nullable String lastSuccess,
      @Nullable String lastFailure,
      @Nullable String lastError) {
    public ProviderHealth {
      Objects.requireNonNull(name);
    }
  }

  /** Principal keys by scope. */
  record Keys(List<ScopeKey> keys) implements Reply {
    public Keys {
      keys = List.copyOf(keys);
    }
  }

  /**
   * A scope and its principal key.
   *
   * @param scope {@code server}, {@code default} or {@code database}
   * @param oid database OID, 1664 or 1663
   * @param key name of the principal key, null if the scope has none
   * @param created when the key was set, ISO 8601
   * @param internalKeys number of internal keys that it wraps
   */
  record ScopeKey(
      String scope,
      long oid,
      @Nullable String key,
      @Nullable String provider,
      @Nullable Integer providerId,
      @Nullable String created,
      int internalKeys) {
    public ScopeKey {
      Objects.requireNonNull(scope);
    }
  }

  /** Key providers. */
  record Providers(List<Provider> providers) implements Reply {
    public Providers {
      providers = List.copyOf(providers);
    }
  }

  /** One key provider; options hold addresses and paths of credentials, not the credentials. */
  record Provider(int id, String name, String type, Map<String, String> options) {
    public Provider {
      Objects.requireNonNull(name);
      Objects.requireNonNull(type);
      Objects.requireNonNull(options);
    }
  }
}
