package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Path;

/**
 * {@code keys_version} (spec 1.2): the magics of the relation key files (offset 0) and of {@code
 * wal_keys} (offset 4). Bytes behind the eighth are ignored.
 */
public record KeysVersion(String file, long relationMagic, long walMagic) {
  /** Magic of relation key files, version 4. */
  public static final long RELATION_KEYS = 0x04454454L;

  /** Magic of {@code wal_keys}, version 2. */
  public static final long WAL_KEYS = 0x024B4557L;

  public static KeysVersion read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  public static KeysVersion parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static KeysVersion parse(Source in) {
    in.requireSize(8, "keys_version");
    in.require(in.u32(0) == RELATION_KEYS, 0, "54 44 45 04", in.hex(0, 4));
    in.require(in.u32(4) == WAL_KEYS, 4, "57 45 4b 02", in.hex(4, 4));
    return new KeysVersion(in.file(), in.u32(0), in.u32(4));
  }
}
