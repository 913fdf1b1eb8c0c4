package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Looks whether the principal keys in memory can still be had from their providers, and refuses
 * what a policy wants refused while one cannot.
 *
 * <p>Whatever is in use goes on in any case: only internal keys that were not needed so far wait
 * for the provider. WAL, pg_control and the other sealed files are never refused, for PostgreSQL
 * would panic.
 */
public final class KeyWatch {
  /**
   * A principal key that cannot be had.
   *
   * @param provider name of its provider
   * @param since when that was seen first
   * @param reason the provider's answer
   */
  public record Trouble(String key, String provider, Instant since, String reason) {}

  private record Seen(Trouble trouble, long sinceNanos) {}

  private final KeyDirectory directory;
  private final Providers providers;
  private final Map<PrincipalKey.Id, Seen> troubles = new ConcurrentHashMap<>();

  /** How long internal keys are still unwrapped while their principal key cannot be had. */
  private volatile @Nullable Duration grace;

  KeyWatch(KeyDirectory directory, Providers providers) {
    this.directory = directory;
    this.providers = providers;
  }

  /**
   * Sets the policy.
   *
   * @param grace null: whatever the principal keys in memory can unwrap is unwrapped, for ever
   */
  public void refuseAfter(@Nullable Duration grace) {
    this.grace = grace;
  }

  /** The principal keys that could not be had at the last look, by name. */
  public List<Trouble> troubles() {
    return troubles.values().stream()
        .map(Seen::trouble)
        .sorted(Comparator.comparing(Trouble::key).thenComparing(Trouble::provider))
        .toList();
  }

  /** Asks the providers for every principal key in memory. For one thread; holds no lock. */
  public void look() {
    Set<ProviderRecord> silent = new HashSet<>();
    List<PrincipalKey> held = directory.principalKeys().hold();
    try {
      List<PrincipalKey.Id> ids = new ArrayList<>();
      for (PrincipalKey key : held) {
        ids.add(key.id());
        look(key, silent);
      }
      troubles.keySet().retainAll(ids);
    } finally {
      held.forEach(directory.principalKeys()::release);
    }
  }

  private void look(PrincipalKey key, Set<ProviderRecord> silent) {
    PrincipalKey.Id id = key.id();
    String provider = "id " + id.providerId();
    String reason;
    try {
      ProviderRecord record = providers.find(id);
      if (record == null) {
        reason = "the key provider is gone";
      } else {
        provider = record.name();
        reason = silent.contains(record) ? "the key provider does not answer" : ask(record, key);
      }
    } catch (ProviderException e) {
      ProviderRecord record = find(id);
      if (record != null && e.code() == ProviderException.Code.UNAVAILABLE) {
        silent.add(record); // its other keys need not wait for a time-out each
      }
      reason = String.valueOf(e.getMessage());
    } catch (KeyException e) {
      reason = String.valueOf(e.getMessage());
    }
    if (!Thread.currentThread().isInterrupted()) {
      note(id, provider, reason); // else the daemon ends, and the provider is not to blame
    }
  }

  private @Nullable ProviderRecord find(PrincipalKey.Id id) {
    try {
      return providers.find(id);
    } catch (KeyException e) {
      return null;
    }
  }

  /** What is wrong, null if the provider gives the key. */
  private @Nullable String ask(ProviderRecord record, PrincipalKey key)
      throws ProviderException, KeyException {
    if (!(providers.open(record) instanceof KeyProvider.Storing storing)) {
      return null;
    }
    Optional<KeyMaterial> found = storing.fetch(key.id().name());
    if (found.isEmpty()) {
      return "the key provider does not have it";
    }
    try (KeyMaterial material = found.get()) {
      return key.hasBytes(material.bytes())
          ? null
          : "the key provider has another key of this name";
    }
  }

  private void note(PrincipalKey.Id id, String provider, @Nullable String reason) {
    if (reason == null) {
      Seen before = troubles.remove(id);
      if (before != null) {
        KeyDirectory.LOG.warn(
            "principal key \"{}\" can be had from key provider \"{}\" again", id.name(), provider);
      }
      return;
    }
    Seen before = troubles.get(id);
    Instant since = before == null ? Instant.now() : before.trouble.since;
    long nanos = before == null ? System.nanoTime() : before.sinceNanos;
    troubles.put(id, new Seen(new Trouble(id.name().toString(), provider, since, reason), nanos));
    if (before == null || !before.trouble.reason.equals(reason)) {
      KeyDirectory.LOG.error(
          "principal key \"{}\" cannot be had from key provider \"{}\": {}; it stays in memory, but"
              + " the next start will need it",
          id.name(),
          provider,
          reason);
    }
  }

  /**
   * Before an internal key is unwrapped for the first time.
   *
   * @throws KeyException if the policy refuses it
   */
  void requireAvailable(PrincipalKey.Id id, Scope scope) throws KeyException {
    Duration wait = grace;
    Seen seen = wait == null ? null : troubles.get(id);
    if (wait == null || seen == null || System.nanoTime() - seen.sinceNanos < wait.toNanos()) {
      return;
    }
    throw new KeyException(
        Kind.PROVIDER_FAILED,
        "an internal key of %s is not unwrapped: principal key \"%s\" cannot be had from key provider \"%s\" since %s: %s"
            .formatted(
                scope,
                seen.trouble.key,
                seen.trouble.provider,
                seen.trouble.since,
                seen.trouble.reason),
        "on-kms-unavailable wants that after %s; it goes on when the provider gives the key again"
            .formatted(wait));
  }
}
