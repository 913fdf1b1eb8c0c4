package io.pgveil.datadir.check;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * {@code pgveil inspect} of any file. An input: which name (1 byte; 128: without keys at hand),
 * page (2 bytes), 64-KiB pieces to fill the file up to with its last byte (1), content.
 */
public final class InspectorFuzz {
  private static final FuzzCluster CLUSTER = new FuzzCluster("inspector").made();
  private static final List<String> NAMES =
      List.of(
          "base/5/1259",
          "base/5/16384_fsm",
          "base/5/16384.1",
          "base/5/t3_16384",
          "global/1262",
          "pg_wal/000000010000000000000001",
          "pg_wal/FFFFFFFFFFFFFFFFFFFFFFFF",
          "pg_wal/0001000000000001000000FF.partial",
          "global/pg_control",
          "postgresql.conf",
          "pg_tde/7_keys",
          "pg_tde/7_providers",
          "pg_tde/keys_version",
          "pg_tde/any");
  private static final KeyDirectory OPEN = open();

  private InspectorFuzz() {}

  private static KeyDirectory open() {
    try {
      return CLUSTER.keys.open(true);
    } catch (KeyException e) {
      throw new Violation("the key directory to begin with", e);
    }
  }

  public static void fuzzerTestOneInput(byte[] input) throws IOException {
    Bits bits = new Bits(input);
    int which = bits.u8();
    int block = bits.u16();
    int pieces = bits.u8() % 18;
    byte[] content = bits.rest();
    if (pieces > 0 && content.length > 0) {
      int size = content.length;
      byte last = content[size - 1];
      content = Arrays.copyOf(content, Math.max(size, pieces << 16));
      Arrays.fill(content, size, content.length, last);
    }
    String name = NAMES.get((which & 127) % NAMES.size());
    CLUSTER.write(name, content);
    Path file = CLUSTER.file(name);
    try {
      Inspector inspector =
          new Inspector(CLUSTER.root, List.of(), (which & 128) != 0 ? null : OPEN);
      check(inspector.inspect(file, block));
      // what lies outside may be a keyring
      Path outside = CLUSTER.root.resolveSibling(CLUSTER.root.getFileName() + ".file");
      try {
        Files.write(outside, content);
        check(inspector.inspect(outside, block));
      } finally {
        Files.delete(outside);
      }
    } finally {
      Files.delete(file);
    }
  }

  private static void check(List<Inspector.Group> groups) {
    Violation.unless(!groups.isEmpty(), "nothing is said");
    for (Inspector.Group g : groups) {
      for (Inspector.Field f : g.fields()) {
        // a key may be called null
        Violation.unless(
            !f.value().equals("null") || f.name().equals("name") || f.name().equals("options"),
            "no value: " + f.name());
      }
    }
  }
}
