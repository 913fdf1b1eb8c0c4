package io.pgveil.app.metrics;

import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.MultiGauge;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import io.pgveil.fuse.OperationStatistics;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.KeyWatch;
import io.pgveil.keys.PrincipalKeys;
import io.pgveil.keys.ProviderHealth;
import io.pgveil.keys.Scope;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The figures of a mounted cluster. Names and ages of keys, never keys. */
public final class Metrics implements ProviderHealth.Listener {
  private static final Logger LOG = LoggerFactory.getLogger(Metrics.class);

  private static final Duration[] LATENCIES = {
    Duration.ofMillis(1),
    Duration.ofMillis(5),
    Duration.ofMillis(20),
    Duration.ofMillis(100),
    Duration.ofMillis(500),
    Duration.ofSeconds(2),
    Duration.ofSeconds(10)
  };

  private final KeyDirectory keys;
  private final Supplier<List<OperationStatistics>> operations;
  private final PrometheusMeterRegistry registry =
      new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
  private final MultiGauge up;
  private final MultiGauge lastSuccess;
  private final MultiGauge lastFailure;
  private final MultiGauge missing;
  private final MultiGauge age;
  private final MultiGauge internalKeys;
  private final MultiGauge walRanges;

  /** Figures of the last look, for counters that read them. */
  private final Map<String, OperationStatistics> seen = new ConcurrentHashMap<>();

  public Metrics(KeyDirectory keys, Supplier<List<OperationStatistics>> operations) {
    this.keys = keys;
    this.operations = operations;
    up = gauge("pgveil.provider.up", "Whether the last request to the key provider was answered");
    lastSuccess =
        gauge("pgveil.provider.last.success.timestamp.seconds", "Last good answer, Unix time");
    lastFailure =
        gauge("pgveil.provider.last.failure.timestamp.seconds", "Last failure, Unix time");
    missing =
        gauge(
            "pgveil.principal.key.unavailable.seconds",
            "Since when a principal key in use cannot be had from its key provider; absent if it can");
    age = gauge("pgveil.principal.key.age.seconds", "Since when the scope has its principal key");
    internalKeys = gauge("pgveil.internal.keys", "Internal keys that the principal key wraps");
    walRanges = gauge("pgveil.wal.ranges", "WAL ranges");
    keys.providerHealth().listen(this);
  }

  private MultiGauge gauge(String name, String description) {
    return MultiGauge.builder(name).description(description).register(registry);
  }

  @Override
  public void answered(ProviderHealth.State now, Duration took) {
    Timer.builder("pgveil.provider.requests")
        .description("Requests to key providers")
        .tags("provider", now.name(), "outcome", now.isFailing() ? "failed" : "answered")
        .serviceLevelObjectives(LATENCIES)
        .register(registry)
        .record(took);
  }

  /** All figures as they are now, in the text format of Prometheus. */
  public synchronized String text() {
    Instant now = Instant.now();
    List<MultiGauge.Row<?>> ups = new ArrayList<>();
    List<MultiGauge.Row<?>> successes = new ArrayList<>();
    List<MultiGauge.Row<?>> failures = new ArrayList<>();
    for (ProviderHealth.State s : keys.providerHealth().states()) {
      Tags tags = Tags.of("provider", s.name());
      ups.add(MultiGauge.Row.of(tags, s.isFailing() ? 0 : 1));
      add(successes, tags, s.lastSuccess());
      add(failures, tags, s.lastFailure());
    }
    register(up, ups);
    register(lastSuccess, successes);
    register(lastFailure, failures);
    List<MultiGauge.Row<?>> troubles = new ArrayList<>();
    for (KeyWatch.Trouble t : keys.watch().troubles()) {
      troubles.add(
          MultiGauge.Row.of(
              Tags.of("key", t.key(), "provider", t.provider()), seconds(t.since(), now)));
    }
    register(missing, troubles);
    try {
      keysOfScopes(now);
      register(walRanges, List.of(MultiGauge.Row.of(Tags.empty(), keys.walKeys().count())));
    } catch (KeyException e) {
      LOG.warn("the keys cannot be counted: {}", e.getMessage());
    }
    Map<String, OperationStatistics> sums = new HashMap<>();
    for (OperationStatistics o : operations.get()) {
      sums.merge(
          o.operation(),
          o,
          (x, y) ->
              new OperationStatistics(x.operation(), x.count() + y.count(), x.nanos() + y.nanos()));
    }
    sums.forEach(
        (operation, sum) -> {
          if (seen.put(operation, sum) == null) {
            count(operation);
          }
        });
    return registry.scrape();
  }

  private void count(String operation) {
    FunctionCounter.builder(
            "pgveil.fuse.requests", seen, s -> Objects.requireNonNull(s.get(operation)).count())
        .description("Requests of the kernel that were answered")
        .tag("operation", operation)
        .register(registry);
    FunctionCounter.builder(
            "pgveil.fuse.request.seconds",
            seen,
            s -> Objects.requireNonNull(s.get(operation)).nanos() / 1e9)
        .description("Time that answering them took")
        .tag("operation", operation)
        .register(registry);
  }

  private void keysOfScopes(Instant now) throws KeyException {
    List<MultiGauge.Row<?>> ages = new ArrayList<>();
    List<MultiGauge.Row<?>> counts = new ArrayList<>();
    add(ages, counts, "server", Scope.SERVER, keys.relationKeys(0).count(), now);
    add(ages, counts, "default", Scope.DEFAULT, 0, now);
    for (int oid : keys.databases()) {
      if (oid != 0) {
        add(
            ages,
            counts,
            Integer.toUnsignedString(oid),
            new Scope(oid),
            keys.relationKeys(oid).count(),
            now);
      }
    }
    register(age, ages);
    register(internalKeys, counts);
  }

  private void add(
      List<MultiGauge.Row<?>> ages,
      List<MultiGauge.Row<?>> counts,
      String name,
      Scope scope,
      int internalKeys,
      Instant now)
      throws KeyException {
    PrincipalKeys.Info info = keys.principalKeys().info(scope);
    if (info == null) {
      return;
    }
    Tags tags =
        Tags.of(
            "scope",
            name,
            "key",
            info.name(),
            "provider",
            info.providerName() == null ? "" : info.providerName());
    ages.add(MultiGauge.Row.of(tags, seconds(info.created(), now)));
    counts.add(MultiGauge.Row.of(tags, internalKeys));
  }

  private static void add(List<MultiGauge.Row<?>> rows, Tags tags, @Nullable Instant time) {
    if (time != null) {
      rows.add(MultiGauge.Row.of(tags, time.toEpochMilli() / 1000.0));
    }
  }

  private static double seconds(Instant from, Instant to) {
    return Duration.between(from, to).toMillis() / 1000.0;
  }

  private static void register(MultiGauge gauge, List<MultiGauge.Row<?>> rows) {
    gauge.register(rows, true);
  }
}
