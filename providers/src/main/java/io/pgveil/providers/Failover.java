package io.pgveil.providers;

import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Several servers with the same keys, of which the first one answers that can.
 *
 * <p>One that cannot be reached or is not able to answer is followed by the next; when all have
 * failed so, they are asked again after a pause, until the time is up. Each pause is random, so
 * that many databases do not come back at the same instant.
 */
public final class Failover<A> {
  /** For one call, with all its repetitions. */
  public static final Duration BUDGET = Duration.ofSeconds(10);

  private static final long FIRST_PAUSE_MS = 100;
  private static final long LONGEST_PAUSE_MS = 2000;

  private final List<A> addresses;
  private final Duration budget;
  private final SecureRandom random = new SecureRandom();

  /** The address that has answered last. */
  private volatile int preferred;

  public Failover(List<A> addresses, Duration budget) {
    this.addresses = List.copyOf(addresses);
    this.budget = budget;
  }

  /** What is asked of one server. */
  public interface Attempt<A, T> {
    /**
     * Asks.
     *
     * @param end when to give up, as {@link System#nanoTime} tells the time
     * @throws ServerFailure to go on with another server
     * @throws ProviderException to go on with none
     */
    T at(A address, long end) throws ServerFailure, ProviderException;
  }

  /**
   * The first answer.
   *
   * @throws ProviderException if there is none; it tells what each server said last
   */
  public <T> T call(Attempt<A, T> attempt) throws ProviderException {
    long end = System.nanoTime() + budget.toNanos();
    long pause = FIRST_PAUSE_MS;
    Map<A, String> failures = new LinkedHashMap<>();
    Throwable cause = null;
    while (true) {
      boolean passing = false;
      int first = preferred;
      int n = addresses.size();
      for (int i = 0; i < n; i++) {
        int index = (first + i) % n;
        A address = addresses.get(index);
        try {
          T answer = attempt.at(address, end);
          preferred = index;
          return answer;
        } catch (ServerFailure e) {
          passing |= e.passing();
          if (System.nanoTime() - end < 0 || !failures.containsKey(address)) {
            // a last attempt that had no time tells less than the one before
            failures.put(address, String.valueOf(e.getMessage()));
            cause = e.getCause();
          }
        }
      }
      long wait = pause / 2 + random.nextLong(pause / 2 + 1);
      if (!passing || System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(wait) - end >= 0) {
        String message = String.join("; ", failures.values());
        throw passing
            ? new ProviderException(
                Code.UNAVAILABLE,
                message + " (tried for %d s)".formatted(budget.toSeconds()),
                cause)
            : new ProviderException(Code.REFUSED, message, cause);
      }
      sleep(wait);
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  private static void sleep(long millis) throws ProviderException {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ProviderException(Code.UNAVAILABLE, "interrupted", e);
    }
  }
}
