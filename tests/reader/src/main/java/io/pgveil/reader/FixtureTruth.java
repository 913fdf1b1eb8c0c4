package io.pgveil.reader;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The fixture {@code fx-aes128}: a cluster written by a real pg_tde server, and the truth about
 * what it holds. The fixture lies outside the project; tests skip without it.
 *
 * <p>Of {@code truth.txt} these lines are relied on:
 *
 * <ul>
 *   <li>section {@code == databases}: {@code oid|name};
 *   <li>sections {@code == NAME: relations}: nine fields separated by {@code |}, of which name (2),
 *       path of the main fork in the data directory (8) and encrypted, {@code t} or {@code f} (9);
 *   <li>section {@code == settings}: {@code wal_segment_size|BYTES};
 *   <li>section {@code == WAL segments}: the name first, then the SHA-256 of the segment as stored
 *       and as decrypted;
 *   <li>section {@code == decrypted pages}: six fields separated by spaces, of which number of
 *       blocks (4), SHA-256 of the clear pages (5) and the file's name in {@code pages-plain} (6):
 *       its path in the data directory with {@code _} for {@code /}.
 * </ul>
 *
 * @param root holds {@code data} and the keyrings
 * @param truth holds {@code truth.txt}, {@code pages-plain} and {@code wal-plain}
 * @param relations encrypted or not, as the server listed them
 */
public record FixtureTruth(
    Path root,
    Path truth,
    Map<Long, String> databases,
    List<Relation> relations,
    List<WalFile> walFiles,
    int walSegmentSize) {

  /**
   * A relation.
   *
   * @param path of the main fork, relative to the data directory
   * @param files one for each segment of each fork, also of 0 bytes
   */
  public record Relation(String name, String path, boolean encrypted, List<ForkFile> files) {}

  /**
   * A relation's file.
   *
   * @param truth what the server decrypts it to; null when it is empty or the relation is clear
   */
  public record ForkFile(RelationFile what, Path stored, @Nullable PageTruth truth) {}

  /** Clear pages, with the SHA-256 (hexadecimal) that truth.txt states. */
  public record PageTruth(Path clear, int blocks, String sha256) {}

  /** A WAL segment as stored and as decrypted by pg_tde, with the SHA-256s of truth.txt. */
  public record WalFile(
      WalSegmentName what, Path stored, String storedSha256, Path clear, String clearSha256) {}

  /** The data directory. */
  public Path data() {
    return root.resolve("data");
  }

  /** The key directory. */
  public Path keyDirectory() {
    return data().resolve("pg_tde");
  }

  /**
   * The directory of the fixture's archives: system property {@code pgveil.fixtures}, else {@code
   * shared/fixtures} in the working directory or the nearest directory above that has it.
   */
  public static Optional<Path> find() {
    String given = System.getProperty("pgveil.fixtures");
    if (given != null) {
      return Optional.of(Path.of(given)).filter(FixtureTruth::holdsFixture);
    }
    return Stream.iterate(Path.of("").toAbsolutePath(), dir -> dir != null, Path::getParent)
        .map(dir -> dir.resolve("shared").resolve("fixtures"))
        .filter(FixtureTruth::holdsFixture)
        .findFirst();
  }

  private static boolean holdsFixture(Path directory) {
    return Files.exists(directory.resolve("fx-aes128.tar.zst"))
        && Files.exists(directory.resolve("fx-aes128-truth.tar.zst"));
  }

  /** Unpacks both archives (programs tar and zstd) into {@code into} and reads the truth. */
  public static FixtureTruth unpack(Path fixtures, Path into) throws IOException {
    for (String archive : List.of("fx-aes128.tar.zst", "fx-aes128-truth.tar.zst")) {
      Process tar =
          new ProcessBuilder(
                  "tar",
                  "--zstd",
                  "--no-same-owner",
                  "-xf",
                  fixtures.resolve(archive).toString(),
                  "-C",
                  into.toString())
              .inheritIO()
              .start();
      try {
        if (tar.waitFor() != 0) {
          throw new IOException("tar cannot unpack " + fixtures.resolve(archive));
        }
      } catch (InterruptedException e) {
        tar.destroy();
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while unpacking " + archive, e);
      }
    }
    return read(into.resolve("fx-aes128"), into.resolve("fx-aes128-truth"));
  }

  /** Reads the truth about an unpacked fixture. */
  public static FixtureTruth read(Path root, Path truth) throws IOException {
    List<String> lines = Files.readAllLines(truth.resolve("truth.txt"));
    Path data = root.resolve("data");

    Map<Long, String> databases = new HashMap<>();
    for (String line : section(lines, header -> header.startsWith("== databases"))) {
      String[] field = line.split("\\|", -1);
      databases.put(Long.parseLong(field[0]), field[1]);
    }

    Map<String, PageTruth> pages = new HashMap<>();
    for (String line : section(lines, header -> header.startsWith("== decrypted pages"))) {
      String[] field = line.split(" ", -1);
      Path clear = truth.resolve("pages-plain").resolve(field[5]);
      pages.put(field[5], new PageTruth(clear, Integer.parseInt(field[3]), field[4]));
    }

    List<Relation> relations = new ArrayList<>();
    for (String line : section(lines, header -> header.contains(": relations "))) {
      String[] field = line.split("\\|", -1);
      relations.add(
          new Relation(field[1], field[7], field[8].equals("t"), forkFiles(data, field[7], pages)));
    }

    int segmentSize = 0;
    for (String line : section(lines, header -> header.startsWith("== settings"))) {
      if (line.startsWith("wal_segment_size|")) {
        segmentSize = Integer.parseInt(line.substring("wal_segment_size|".length()));
      }
    }

    List<WalFile> walFiles = new ArrayList<>();
    for (String line : section(lines, header -> header.startsWith("== WAL segments"))) {
      String[] field = line.split(" ", -1);
      walFiles.add(
          new WalFile(
              WalSegmentName.parse(field[0], segmentSize).orElseThrow(),
              data.resolve("pg_wal").resolve(field[0]),
              field[1],
              truth.resolve("wal-plain").resolve(field[0]),
              field[2]));
    }
    return new FixtureTruth(
        root,
        truth,
        Map.copyOf(databases),
        List.copyOf(relations),
        List.copyOf(walFiles),
        segmentSize);
  }

  /** The lines below every header (a line beginning with {@code ==}) that is wanted. */
  private static List<String> section(List<String> lines, Predicate<String> wanted) {
    List<String> section = new ArrayList<>();
    boolean inside = false;
    for (String line : lines) {
      if (line.startsWith("==")) {
        inside = wanted.test(line);
      } else if (inside) {
        section.add(line);
      }
    }
    return section;
  }

  private static List<ForkFile> forkFiles(Path data, String path, Map<String, PageTruth> pages)
      throws IOException {
    long relation = RelationFile.parse(path).orElseThrow().relation();
    List<ForkFile> files = new ArrayList<>();
    try (Stream<Path> names = Files.list(data.resolve(path).resolveSibling(""))) {
      for (Path stored : names.sorted().toList()) {
        Optional<RelationFile> what = RelationFile.parse(data.relativize(stored).toString());
        if (what.isPresent() && what.get().relation() == relation) {
          String clear = what.get().path().replace('/', '_');
          files.add(new ForkFile(what.get(), stored, pages.get(clear)));
        }
      }
    }
    return List.copyOf(files);
  }

  /**
   * The principal key that {@code info} names, taken from the keyring of its provider. The options
   * hold the path where the fixture was made; its last component is looked up in {@link #root}.
   */
  public Secret principalKey(SignedKeyInfo info) throws IOException {
    long owner = info.keyringId() < 0 ? 1664 : info.databaseId();
    ProviderFile providers = ProviderFile.read(keyDirectory().resolve(owner + "_providers"));
    Map<String, String> options = providers.find(info.keyringId()).orElseThrow().options();
    Path original = Path.of(options.getOrDefault("path", ""));
    return Keyring.read(root.resolve(original.getFileName())).find(info.name()).orElseThrow();
  }
}
