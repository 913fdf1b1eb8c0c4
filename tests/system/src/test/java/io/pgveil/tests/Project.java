package io.pgveil.tests;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Where the source tree is that the tests run in. */
public final class Project {
  private Project() {}

  /** The directory that holds {@code mvnw}. */
  public static Path root() {
    return Stream.iterate(Path.of("").toAbsolutePath(), Path::getParent)
        .filter(directory -> Files.exists(directory.resolve("mvnw")))
        .findFirst()
        .orElseThrow();
  }
}
