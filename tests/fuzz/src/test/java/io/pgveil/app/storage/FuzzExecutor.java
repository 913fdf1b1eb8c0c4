package io.pgveil.app.storage;

import io.pgveil.app.control.Executor;
import io.pgveil.fuzz.Violation;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.FuzzKeys;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Stream;

/** Executes requests on a key directory that is the same before each of them. */
public final class FuzzExecutor {
  private final FuzzKeys keys = new FuzzKeys("control").made();
  private final Map<String, byte[]> files = new TreeMap<>();

  public FuzzExecutor() {
    try (Stream<Path> all = Files.list(keys.directory)) {
      for (Path file : all.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public <R> R run(Function<Executor, R> what) {
    keys.clear();
    files.forEach(keys::write);
    try (KeyDirectory d = keys.open(false)) {
      return what.apply(new KeyCommands(keys.root, null, d, CipherType.AES_128));
    } catch (KeyException e) {
      throw new Violation("the key directory to begin with", e);
    }
  }
}
