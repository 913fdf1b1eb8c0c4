package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.reader.Keyring;
import io.pgveil.reader.RelationKeyFile;
import io.pgveil.reader.SealFile;
import io.pgveil.reader.Secret;
import java.io.IOException;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a cluster at work must keep to itself, by names under which it is reported. A provider that
 * has a token, a PIN or a passphrase adds it to {@link #credentials}.
 *
 * @param outsideHeap keys that are never left on the heap: principal keys and seal keys
 * @param onHeap internal keys, which are there while a file is in use
 * @param credentials texts that open something
 */
record Secrets(
    Map<String, byte[]> outsideHeap, Map<String, byte[]> onHeap, Map<String, String> credentials) {

  /** From the files of the cluster, by the other reader. */
  static Secrets of(UpDirectory cluster) throws IOException {
    Map<String, byte[]> outsideHeap = new LinkedHashMap<>();
    Map<String, byte[]> onHeap = new LinkedHashMap<>();
    Secret principal = Keyring.read(cluster.keyring()).find("principal-key-1").orElseThrow();
    outsideHeap.put("principal key", principal.toArray());
    SealFile seal = SealFile.read(cluster.keys().resolve("pgveil.seal"));
    seal.unwrapAll(principal)
        .forEach((id, key) -> outsideHeap.put("seal key " + id, key.toArray()));
    RelationKeyFile file = RelationKeyFile.read(cluster.keys().resolve("5_keys"));
    int n = 0;
    for (RelationKeyFile.Entry entry : file.keys()) {
      if (n++ % 40 == 0 || n == file.keys().size()) {
        onHeap.put("internal key " + n, entry.unwrap(principal).toArray());
      }
    }
    String line = Files.readString(cluster.root().resolve("pgpass")).strip();
    Map<String, String> credentials =
        Map.of("superuser's password", line.substring(line.lastIndexOf(':') + 1));
    assertThat(outsideHeap).hasSizeGreaterThan(1);
    assertThat(onHeap).hasSizeGreaterThan(2);
    return new Secrets(outsideHeap, onHeap, credentials);
  }

  /** Every key. */
  Map<String, byte[]> keys() {
    Map<String, byte[]> all = new TreeMap<>(outsideHeap);
    all.putAll(onHeap);
    return all;
  }

  SecretSearch search() {
    return new SecretSearch(keys(), credentials);
  }
}
