package io.pgveil.app;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Searches every file of a tree for needles, byte by byte. All needles begin with one marker; what
 * follows it up to the next byte that is no letter tells them apart.
 */
final class NeedleScan {
  private static final int BLOCK = 1 << 20;

  /** Longest name behind the marker. */
  private static final int MAX_NAME = 16;

  private final Path root;
  private final byte[] marker;
  private final TreeMap<String, Set<Path>> found = new TreeMap<>();
  private long bytes;
  private int files;

  private NeedleScan(Path root, String marker) {
    this.root = root;
    this.marker = marker.getBytes(StandardCharsets.US_ASCII);
  }

  /** Reads everything below {@code root}, symbolic links not followed. */
  static NeedleScan of(Path root, String marker) throws IOException {
    NeedleScan scan = new NeedleScan(root, marker);
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            if (attributes.isRegularFile()) {
              scan.file(file);
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
            // a running server removes files
            if (e instanceof NoSuchFileException) {
              return FileVisitResult.CONTINUE;
            }
            throw e;
          }
        });
    return scan;
  }

  private void file(Path file) throws IOException {
    byte[] buffer = new byte[BLOCK + marker.length + MAX_NAME];
    int kept = 0;
    try (InputStream in = Files.newInputStream(file)) {
      files++;
      int n;
      while ((n = in.readNBytes(buffer, kept, BLOCK)) > 0) {
        bytes += n;
        int end = kept + n;
        boolean last = n < BLOCK;
        int overlap = last ? 0 : marker.length + MAX_NAME;
        search(buffer, end, end - overlap, file);
        System.arraycopy(buffer, end - overlap, buffer, 0, overlap);
        kept = overlap;
      }
      search(buffer, kept, kept, file);
    } catch (NoSuchFileException e) {
      // removed by the running server since it was listed
    }
  }

  /** Looks at needles that begin below {@code limit}; all of them end below {@code end}. */
  private void search(byte[] buffer, int end, int limit, Path file) {
    byte first = marker[0];
    for (int i = 0; i < limit; i++) {
      if (buffer[i] == first && matches(buffer, i, end)) {
        int start = i + marker.length;
        int stop = start;
        while (stop < end && stop < start + MAX_NAME && isLetter(buffer[stop])) {
          stop++;
        }
        String name = new String(buffer, start, stop - start, StandardCharsets.US_ASCII);
        found.computeIfAbsent(name, k -> new TreeSet<>()).add(root.relativize(file));
      }
    }
  }

  private boolean matches(byte[] buffer, int at, int end) {
    if (at + marker.length > end) {
      return false;
    }
    for (int i = 1; i < marker.length; i++) {
      if (buffer[at + i] != marker[i]) {
        return false;
      }
    }
    return true;
  }

  private static boolean isLetter(byte b) {
    return b >= 'a' && b <= 'z';
  }

  /** Bytes read. */
  long bytes() {
    return bytes;
  }

  int files() {
    return files;
  }

  /** Names of the needles that were found. */
  Set<String> names() {
    return found.keySet();
  }

  /** The files, relative to the root, that hold a needle. */
  Set<Path> filesWith(String name) {
    return found.getOrDefault(name, Set.of());
  }
}
