package io.pgveil.datadir.check;

import io.pgveil.fuzz.Scratch;
import io.pgveil.keys.FuzzKeys;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A cipher directory of a few files around a key directory. */
final class FuzzCluster {
  final FuzzKeys keys;
  final Path root;

  FuzzCluster(String name) {
    keys = new FuzzKeys(name).withProvider();
    root = keys.root;
  }

  /** With keys of a database, WAL ranges and seal keys. */
  FuzzCluster made() {
    keys.made();
    return this;
  }

  /** Without seal keys: then everything but relations and WAL is clear. */
  FuzzCluster ofPgTde() {
    try {
      Files.delete(keys.directory.resolve("pgveil.seal"));
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Path file(String path) {
    return root.resolve(path);
  }

  void write(String path, byte[] content) {
    Scratch.write(file(path), content);
  }
}
