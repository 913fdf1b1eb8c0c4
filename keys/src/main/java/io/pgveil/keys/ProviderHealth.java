package io.pgveil.keys;

import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** How the key providers have answered since the key directory was opened. */
public final class ProviderHealth {
  /**
   * The answers of one provider. A key that it does not have is a good answer.
   *
   * @param owner whose provider it is: a database, or the server
   * @param name of the provider
   * @param lastSuccess null if there was none
   * @param lastFailure null if there was none
   * @param lastError what the last failure was, kept when the provider answers again
   */
  public record State(
      Scope owner,
      int id,
      String name,
      long requests,
      long failures,
      @Nullable Instant lastSuccess,
      @Nullable Instant lastFailure,
      @Nullable String lastError) {

    /** Whether the last request failed. */
    public boolean isFailing() {
      return lastFailure != null && (lastSuccess == null || lastSuccess.isBefore(lastFailure));
    }

    private State after(@Nullable ProviderException failure, Instant now) {
      return failure == null
          ? new State(owner, id, name, requests + 1, failures, now, lastFailure, lastError)
          : new State(
              owner,
              id,
              name,
              requests + 1,
              failures + 1,
              lastSuccess,
              now,
              String.valueOf(failure.getMessage()));
    }
  }

  /** Is told of each answer, on the thread that asked. */
  public interface Listener {
    void answered(State now, Duration took);
  }

  private record Id(int owner, int id) {}

  private final ConcurrentHashMap<Id, State> states = new ConcurrentHashMap<>();
  private volatile Listener listener = (now, took) -> {};

  /** Of all providers that were asked, the server's first. */
  public List<State> states() {
    return states.values().stream()
        .sorted(
            Comparator.comparing((State s) -> !s.owner.equals(Scope.SERVER))
                .thenComparing(s -> s.owner.oid(), Integer::compareUnsigned)
                .thenComparing(State::name))
        .toList();
  }

  /** Takes the place of the listener that there was. */
  public void listen(Listener next) {
    listener = next;
  }

  /** The provider is gone, or another under the same id. */
  void forget(ProviderRecord record) {
    states.remove(new Id(record.owner(), record.id()));
  }

  private interface Request<T extends @Nullable Object> {
    T run() throws ProviderException;
  }

  private <T extends @Nullable Object> T observe(ProviderRecord record, Request<T> request)
      throws ProviderException {
    long start = System.nanoTime();
    ProviderException failure = null;
    try {
      return request.run();
    } catch (ProviderException e) {
      failure = e;
      throw e;
    } finally {
      ProviderException counted = failure != null && isFailure(failure.code()) ? failure : null;
      Duration took = Duration.ofNanos(System.nanoTime() - start);
      Instant now = Instant.now();
      State state =
          states.compute(
              new Id(record.owner(), record.id()),
              (id, before) ->
                  (before != null && before.name.equals(record.name())
                          ? before
                          : new State(
                              new Scope(id.owner), id.id, record.name(), 0, 0, null, null, null))
                      .after(counted, now));
      listener.answered(state, took);
    }
  }

  /** Whether it says something of the provider, and not of what was asked. */
  private static boolean isFailure(ProviderException.Code code) {
    return switch (code) {
      case EXISTS, INVALID_KEY, RETIRED -> false;
      case UNAVAILABLE,
          REFUSED,
          INVALID_RESPONSE,
          CORRUPTED,
          INSECURE,
          MISPLACED,
          MISSING,
          NO_SPACE ->
          true;
    };
  }

  /** The same provider, whose answers are noted. */
  KeyProvider observed(ProviderRecord record, KeyProvider provider) {
    return provider instanceof KeyProvider.Storing storing
        ? new Storing(record, storing)
        : provider;
  }

  private final class Storing implements KeyProvider.Storing {
    private final ProviderRecord record;
    private final KeyProvider.Storing provider;

    Storing(ProviderRecord record, KeyProvider.Storing provider) {
      this.record = record;
      this.provider = provider;
    }

    @Override
    public Optional<KeyMaterial> fetch(KeyName name) throws ProviderException {
      return observe(record, () -> provider.fetch(name));
    }

    @Override
    public Optional<KeyMaterial> fetchForNewUse(KeyName name) throws ProviderException {
      return observe(record, () -> provider.fetchForNewUse(name));
    }

    @Override
    public void store(KeyName name, byte[] key) throws ProviderException {
      ProviderHealth.this.<@Nullable Void>observe(
          record,
          () -> {
            provider.store(name, key);
            return null;
          });
    }

    @Override
    public void close() {
      provider.close();
    }
  }
}
