package io.pgveil.providers.vault;

import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.vault.VaultClient.Call;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps a renewable token alive: renews it when a third of its time is gone. A token of a login
 * that is not renewable, or comes to its end, is replaced by another login; one of a file by
 * whoever replaces the file.
 *
 * <p>One daemon thread of a provider that has been used. It begins a moment later, so that a single
 * command makes no requests that nobody needs. The file is looked at every minute at the latest,
 * for it may hold another token by then.
 */
final class TokenRenewal implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TokenRenewal.class);

  private static final Duration FIRST = Duration.ofSeconds(1);
  private static final Duration LONGEST = Duration.ofMinutes(1);
  private static final Duration AGAIN = Duration.ofSeconds(10);
  private static final Duration NO_NEED = Duration.ofDays(1);

  private static final String RENEWABLE = "/data/renewable";
  private static final String FULL_TIME = "/data/creation_ttl";
  private static final String TIME_LEFT = "/data/ttl";
  private static final String TIME = "/auth/lease_duration";

  private final VaultClient client;

  /** Guarded by the monitor. */
  private @Nullable Thread thread;

  /** Guarded by the monitor. */
  private boolean closed;

  TokenRenewal(VaultClient client) {
    this.client = client;
  }

  synchronized void start() {
    if (thread == null && !closed) {
      thread = Thread.ofPlatform().name("pgveil-vault-renew").daemon().start(this::run);
    }
  }

  @Override
  public synchronized void close() {
    closed = true;
    if (thread != null) {
      thread.interrupt();
    }
  }

  private void run() {
    Duration wait = FIRST;
    long due = System.nanoTime();
    byte[] known = {};
    boolean told = false;
    try {
      while (true) {
        Thread.sleep(wait);
        try {
          byte[] now = client.tokens().fingerprint();
          if (!Arrays.equals(now, known) || System.nanoTime() - due >= 0) {
            due = System.nanoTime() + renew().dividedBy(3).toNanos();
            known = now;
          }
          wait = Duration.ofNanos(Math.clamp(due - System.nanoTime(), 1, LONGEST.toNanos()));
          told = false;
        } catch (ProviderException e) {
          if (!told && !Thread.currentThread().isInterrupted()) {
            LOG.warn("cannot renew the token of the key provider: {}", e.getMessage());
            told = true;
          }
          wait = e.code() == Code.REFUSED ? LONGEST : AGAIN;
          if (e.code() == Code.REFUSED && client.tokens() instanceof TokenSource.Login login) {
            // each attempt would log in again; a token that ends is replaced when it is refused
            known = login.fingerprint();
            due = System.nanoTime() + NO_NEED.toNanos();
          }
        }
      }
    } catch (InterruptedException e) {
      // the provider is closed
    }
  }

  /** Renews the token, if it is of the kind; how long it lives from now on. */
  private Duration renew() throws ProviderException {
    Map<String, String> token = lookUp();
    Duration left = timeLeft(token);
    boolean renewable = "true".equals(token.get(RENEWABLE));
    if (renewable) {
      byte[] nothing = {'{', '}'};
      Map<String, String> lease =
          fields(new Call("POST", "auth/token/renew-self", nothing, new byte[0]), TIME);
      left = seconds(lease.get(TIME));
      LOG.debug("renewed the token of the key provider for {}", left);
    }
    boolean ends = left.compareTo(seconds(token.get(FULL_TIME)).dividedBy(2)) < 0;
    if (ends && client.tokens().replace()) {
      return timeLeft(lookUp());
    }
    if (ends && renewable) {
      LOG.warn("the token of the key provider ends for good in {}: replace its file", left);
    }
    return renewable || !ends ? left : NO_NEED;
  }

  private static Duration timeLeft(Map<String, String> token) throws ProviderException {
    // the server writes 0 for a token that never ends
    return "0".equals(token.get(TIME_LEFT)) ? NO_NEED : seconds(token.get(TIME_LEFT));
  }

  private Map<String, String> lookUp() throws ProviderException {
    return fields(Call.get("auth/token/lookup-self"), RENEWABLE, FULL_TIME, TIME_LEFT);
  }

  private Map<String, String> fields(Call call, String... paths) throws ProviderException {
    try (VaultAnswer answer = client.call(call)) {
      if (answer.status() != 200) {
        throw new ProviderException(Code.REFUSED, answer.reason());
      }
      return answer.fields(paths);
    } catch (IOException e) {
      throw new ProviderException(Code.INVALID_RESPONSE, call + " returned incorrect JSON");
    }
  }

  private static Duration seconds(@Nullable String text) throws ProviderException {
    try {
      return Duration.ofSeconds(Math.clamp(text == null ? 0 : Long.parseLong(text), 1, 1L << 32));
    } catch (NumberFormatException e) {
      throw new ProviderException(Code.INVALID_RESPONSE, "a number of seconds is none");
    }
  }
}
