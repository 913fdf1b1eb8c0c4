package io.pgveil.keys;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A provider type that lives in memory, and counts, fails and lies when told to. */
final class MemoryProvider implements KeyProviderFactory, KeyProvider.Storing {
  final Map<KeyName, byte[]> keys = new HashMap<>();
  final AtomicInteger fetches = new AtomicInteger();
  final Set<KeyName> retired = new HashSet<>();
  volatile @Nullable ProviderException failure;

  /** Told of each call before it does something, and again when a key was stored. */
  volatile Consumer<String> hook = call -> {};

  private final String typeName;
  private final int typeNumber;

  MemoryProvider(String typeName, int typeNumber) {
    this.typeName = typeName;
    this.typeNumber = typeNumber;
  }

  @Override
  public String typeName() {
    return typeName;
  }

  @Override
  public int typeNumber() {
    return typeNumber;
  }

  @Override
  public List<String> optionNames() {
    return List.of("a", "b", "c");
  }

  @Override
  public List<String> requiredOptions() {
    return List.of("b", "a");
  }

  @Override
  public KeyProvider open(Map<String, String> options, Context context) {
    return this;
  }

  @Override
  public void validate(Map<String, String> options, Context context) throws ProviderException {
    fail();
  }

  private void fail() throws ProviderException {
    ProviderException e = failure;
    if (e != null) {
      throw e;
    }
  }

  @Override
  public synchronized Optional<KeyMaterial> fetch(KeyName name) throws ProviderException {
    hook.accept("fetch");
    fetches.incrementAndGet();
    fail();
    byte[] key = keys.get(name);
    return key == null ? Optional.empty() : Optional.of(new KeyMaterial(name, key.clone()));
  }

  @Override
  public synchronized Optional<KeyMaterial> fetchForNewUse(KeyName name) throws ProviderException {
    if (retired.contains(name)) {
      throw new ProviderException(ProviderException.Code.RETIRED, name + " is retired");
    }
    return fetch(name);
  }

  @Override
  public synchronized void store(KeyName name, byte[] key) throws ProviderException {
    hook.accept("store");
    fail();
    if (keys.putIfAbsent(name, key.clone()) != null) {
      throw new ProviderException(ProviderException.Code.EXISTS, "exists");
    }
    hook.accept("stored");
  }

  @Override
  public void close() {}
}
