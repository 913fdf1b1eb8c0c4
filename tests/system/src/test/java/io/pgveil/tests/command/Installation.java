package io.pgveil.tests.command;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.tests.Project;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * The launcher with what {@code mvnw package} has built, in a directory of its own: the launcher of
 * the source tree would build anew under the feet of these tests. Shared by all test classes, and
 * given to those that ask for it as a parameter.
 */
final class Installation implements ParameterResolver {
  /** A directory that holds {@code pgveil}. */
  record Home(Path directory) implements AutoCloseable {
    private static Home make() throws IOException {
      Path source = Project.root();
      Path home = Files.createTempDirectory("pgveil-home-");
      Files.setPosixFilePermissions(home, PosixFilePermissions.fromString("rwxr-xr-x"));
      Files.createSymbolicLink(home.resolve(".mvn"), source.resolve(".mvn"));
      // not a link, which would lead the launcher back to the source tree
      Files.copy(source.resolve("pgveil"), home.resolve("pgveil"));
      Files.setPosixFilePermissions(
          home.resolve("pgveil"), PosixFilePermissions.fromString("rwxr-xr-x"));
      // what the launcher compares with its build
      Files.createDirectories(home.resolve("app/src/main"));
      Files.createFile(home.resolve("app/pom.xml"));
      Files.createFile(home.resolve("pom.xml"));
      Path build = Files.createDirectories(home.resolve(".pgveil-build/build.test"));
      Path lib = Files.createDirectory(build.resolve("lib"));
      Path target = source.resolve("app/target");
      try (Stream<Path> jars =
          Stream.concat(Files.list(target.resolve("lib")), Files.list(target))) {
        for (Path jar : jars.filter(f -> f.toString().endsWith(".jar")).toList()) {
          Files.copy(jar, lib.resolve(jar.getFileName()));
        }
      }
      Files.createSymbolicLink(lib.resolve("lib-postgres"), target.resolve("lib-postgres"));
      Files.createFile(build.resolve("stamp"));
      Files.createSymbolicLink(home.resolve(".pgveil-build/current"), Path.of("build.test"));
      Home made = new Home(home);
      Command.Result first = made.run("--version");
      assertThat(first.code()).as(first.all()).isZero();
      return made;
    }

    Path launcher() {
      return directory.resolve("pgveil");
    }

    /** The launcher with arguments, not yet started. */
    Command command(Object... arguments) {
      return Command.of(launcher()).with(arguments);
    }

    /** Runs a command that ends by itself. */
    Command.Result run(Object... arguments) throws IOException {
      return command(arguments).run();
    }

    @Override
    public void close() throws IOException {
      deleteTree(directory);
    }
  }

  static void deleteTree(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  /** What JUnit closes at the end of all tests. */
  private record Shared(Home home) implements ExtensionContext.Store.CloseableResource {
    @Override
    public void close() throws IOException {
      home.close();
    }
  }

  @Override
  public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
    return parameter.getParameter().getType() == Home.class;
  }

  @Override
  public Home resolveParameter(ParameterContext parameter, ExtensionContext context) {
    return context
        .getRoot()
        .getStore(ExtensionContext.Namespace.create(Installation.class))
        .getOrComputeIfAbsent(
            Home.class,
            type -> {
              try {
                return new Shared(Home.make());
              } catch (IOException e) {
                throw new AssertionError("no installation for the tests", e);
              }
            },
            Shared.class)
        .home();
  }
}
