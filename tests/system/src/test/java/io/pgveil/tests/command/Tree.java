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
        // the lock file tells who has used the cluster last
        if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && !path.endsWith("pgveil.lock")) {
          entry += " " + a.get("size") + " " + hash(file, buffer);
        }
        entries.put(path, entry);
      }
    }
    return entries;
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
