package io.pgveil.tests.command;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/** What a directory holds: every path with owner, mode, size and hash. */
final class Tree {
  private Tree() {}

  /** Everything below {@code root}, which need not exist. */
  static SortedMap<String, String> of(Path root) throws IOException {
    SortedMap<String, String> entries = new TreeMap<>();
    if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
      return entries;
    }
    byte[] buffer = new byte[1 << 16];
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : files.toList()) {
        String path = root.relativize(file).toString();
        Map<String, Object> a =
            Files.readAttributes(file, "unix:uid,gid,mode,size", LinkOption.NOFOLLOW_LINKS);
        String entry = "%s:%s %o".formatted(a.get("uid"), a.get("gid"), (int) a.get("mode"));
        if (path.endsWith("/pgveil.lock")) {
          // made by the first command, and tells who has used the cluster last
          continue;
        }
        if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
          entry += " " + a.get("size") + " " + hash(file, buffer);
        }
        entries.put(path, entry);
      }
    }
    return entries;
  }

  /** The paths that differ, each with what it was and what it is; empty if none does. */
  static String difference(SortedMap<String, String> before, SortedMap<String, String> after) {
    StringBuilder out = new StringBuilder();
    SortedMap<String, String> all = new TreeMap<>(before);
    all.putAll(after);
    for (String path : all.keySet()) {
      if (!Objects.equals(before.get(path), after.get(path))) {
        out.append("%s: %s -> %s%n".formatted(path, before.get(path), after.get(path)));
      }
    }
    return out.toString();
  }

  private static String hash(Path file, byte[] buffer) throws IOException {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
    try (InputStream in = new DigestInputStream(Files.newInputStream(file), digest)) {
      int n;
      do {
        n = in.read(buffer);
      } while (n >= 0);
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
