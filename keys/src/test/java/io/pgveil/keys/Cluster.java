package io.pgveil.keys;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/** A key directory in a temporary place, with a provider in memory named "mem". */
final class Cluster {
  static final Scope DB = Scope.database(16384);
  static final String MEM_OPTIONS = "{\"a\":\"x\",\"b\":1}";

  final Path root;
  final Path directory;
  final MemoryProvider memory = new MemoryProvider("memory", 200);
  final MemoryProvider other = new MemoryProvider("other", 201);

  Cluster(Path root) {
    this.root = root;
    this.directory = root.resolve("pg_tde");
  }

  KeyDirectory.Settings settings() {
    return new KeyDirectory.Settings(
        List.of(root.resolve("cipher"), root.resolve("mount")), CipherType.AES_128);
  }

  List<KeyProviderFactory> factories() {
    List<KeyProviderFactory> all = new ArrayList<>(KeyProviderFactory.installed());
    all.add(memory);
    all.add(other);
    return all;
  }

  KeyDirectory open() throws KeyException {
    return open((step, name) -> {});
  }

  KeyDirectory open(DurableFiles.Hook hook) throws KeyException {
    return KeyDirectory.open(directory, settings(), factories(), hook);
  }

  KeyDirectory openReadOnly() throws KeyException {
    return KeyDirectory.open(
        directory,
        new KeyDirectory.Settings(List.of(), CipherType.AES_128, true),
        factories(),
        (step, name) -> {});
  }

  /** A new directory in which the global provider "mem" has the keys k1, k2 and k3; none is set. */
  Cluster made() throws KeyException {
    KeyDirectory.create(directory, settings()).close();
    try (KeyDirectory d = open()) {
      new AddProvider(Scope.SERVER, "memory", "mem", MEM_OPTIONS).run(d);
      for (String key : List.of("k1", "k2", "k3")) {
        new CreateKey(Scope.SERVER, "mem", key, CipherType.AES_128).run(d);
      }
    }
    return this;
  }

  static void set(KeyDirectory d, Scope scope, String key) throws KeyException {
    new SetKey(scope, Scope.SERVER, "mem", key).run(d);
  }

  /** Copies a directory of golden files, and their keyring to {@code root/keyring}. */
  Cluster golden(String version) {
    copy("keyring.file", root.resolve("keyring"));
    try {
      Files.createDirectory(
          directory,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    List<String> names =
        new ArrayList<>(
            List.of("1664_providers", "16384_keys", "1663_keys", "wal_keys", "keys_version"));
    if (version.equals("current")) {
      names.addAll(List.of("16384_providers", "pgveil.seal"));
    }
    for (String name : names) {
      copy(version + "/" + name, directory.resolve(name));
    }
    return this;
  }

  /** Points the golden provider to the copied keyring. */
  static void repoint(KeyDirectory d, Path keyring) throws KeyException {
    new ChangeProvider(Scope.SERVER, "file", "golden", "{\"path\":\"" + keyring + "\"}").run(d);
  }

  static byte[] resource(String name) {
    try (InputStream in = Cluster.class.getResourceAsStream("/golden/" + name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static void copy(String name, Path to) {
    try {
      Files.write(to, resource(name));
      Files.setPosixFilePermissions(to, PosixFilePermissions.fromString("rw-------"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  byte[] content(String name) {
    try {
      return Files.readAllBytes(directory.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void write(String name, byte[] content) {
    try {
      Files.write(directory.resolve(name), content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Every file of the directory. */
  Map<String, byte[]> snapshot() {
    TreeMap<String, byte[]> all = new TreeMap<>();
    try (var list = Files.list(directory)) {
      list.forEach(p -> all.put(p.getFileName().toString(), content(p.getFileName().toString())));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return all;
  }

  /** Brings an earlier {@link #snapshot} back. */
  void restore(Map<String, byte[]> snapshot) {
    try (var list = Files.list(directory)) {
      for (Path p : list.toList()) {
        Files.delete(p);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    snapshot.forEach(this::write);
  }
}
