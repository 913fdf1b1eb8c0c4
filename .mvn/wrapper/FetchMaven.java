import java.io.IOException;
import java.net.URI;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * Fetches a Maven distribution for {@code ./mvnw}: {@code java FetchMaven.java URL SHA256
 * DIRECTORY}.
 *
 * <p>The directory appears complete or not at all, and only with the expected bytes. Needs nothing
 * but the JDK that the build needs anyway; an address that Java cannot reach would stop Maven just
 * as well.
 */
class FetchMaven {
  public static void main(String[] args) throws IOException, NoSuchAlgorithmException {
    URI url = URI.create(args[0]);
    try {
      fetch(url, args[1], Path.of(args[2]));
    } catch (IOException e) {
      System.err.println("mvnw: cannot fetch " + url + ": " + e);
      System.err.println(
          """
          remedy: make the address reachable, or set MVNW_REPOURL to a mirror of the Maven repository;
            a proxy is taken from MAVEN_OPTS (-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT)""");
      System.exit(1);
    }
  }

  private static void fetch(URI url, String sha256, Path directory)
      throws IOException, NoSuchAlgorithmException {
    Files.createDirectories(directory.getParent());
    Path work = Files.createTempDirectory(directory.getParent(), ".fetch");
    try {
      Path zip = work.resolve("maven.zip");
      try (var in = url.toURL().openStream()) {
        Files.copy(in, zip);
      }
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(zip));
      String actual = HexFormat.of().formatHex(digest);
      if (!actual.equals(sha256)) {
        throw new IOException("its SHA-256 is " + actual + ", expected " + sha256);
      }
      Path unpacked = unpack(zip, work.resolve("unpacked"));
      Files.setPosixFilePermissions(
          unpacked.resolve("bin/mvn"), PosixFilePermissions.fromString("rwxr-xr-x"));
      try {
        Files.move(unpacked, directory);
      } catch (FileAlreadyExistsException | DirectoryNotEmptyException e) {
        // Another build was faster; its bytes are the same.
      }
    } finally {
      delete(work);
    }
  }

  /** Unpacks a zip file into a directory and returns the only entry of its top level. */
  private static Path unpack(Path zip, Path into) throws IOException {
    try (var fs = FileSystems.newFileSystem(zip);
        var entries = Files.walk(fs.getPath("/"))) {
      for (Path entry : (Iterable<Path>) entries::iterator) {
        Files.copy(entry, into.resolve(fs.getPath("/").relativize(entry).toString()));
      }
    }
    try (var top = Files.list(into)) {
      return top.findFirst().orElseThrow();
    }
  }

  private static void delete(Path tree) throws IOException {
    List<Path> paths;
    try (var walk = Files.walk(tree)) {
      paths = walk.toList();
    }
    for (Path path : paths.reversed()) {
      Files.delete(path);
    }
  }
}
