package io.pgveil.fuzz;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Replays the corpus of every fuzz target, with what once went wrong among it ({@code
 * regression-*}). A fuzzer is not needed for it; {@code suites/fuzz} runs one.
 */
class CorpusTest {
  private static final Path CORPUS = Path.of("src/test/corpus");
  private static final Path SOURCES = Path.of("src/test/java");

  /** Only against hanging; each input takes milliseconds. */
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  @TestFactory
  Stream<DynamicNode> replay() throws IOException {
    return targets().stream()
        .map(
            target ->
                dynamicContainer(
                    target.getSimpleName(),
                    inputs(target).stream()
                        .map(
                            input ->
                                dynamicTest(
                                    input.getFileName().toString(),
                                    input.toUri(),
                                    () -> run(target, Files.readAllBytes(input))))));
  }

  @TestFactory
  Stream<DynamicNode> takeAnything() throws IOException {
    return targets().stream()
        .map(
            target ->
                dynamicTest(
                    target.getSimpleName(),
                    () -> {
                      for (byte[] input : List.of(new byte[0], new byte[1], new byte[5000])) {
                        run(target, input);
                      }
                    }));
  }

  @Test
  void everyTargetHasACorpusAndTheReverse() throws IOException {
    try (Stream<Path> directories = Files.list(CORPUS)) {
      assertThat(directories.map(d -> d.getFileName().toString()))
          .containsExactlyInAnyOrderElementsOf(
              targets().stream().map(Class::getSimpleName).toList());
    }
  }

  private static void run(Class<?> target, byte[] input) throws Exception {
    Method method = target.getMethod("fuzzerTestOneInput", byte[].class);
    assertTimeoutPreemptively(
        PATIENCE,
        () -> {
          try {
            method.invoke(null, (Object) input);
          } catch (InvocationTargetException e) {
            throw e.getCause();
          }
        });
  }

  /** Every class whose name ends in Fuzz. */
  private static List<Class<?>> targets() throws IOException {
    try (Stream<Path> files = Files.walk(SOURCES)) {
      return files
          .filter(f -> f.getFileName().toString().endsWith("Fuzz.java"))
          .map(f -> SOURCES.relativize(f).toString())
          .map(f -> f.substring(0, f.length() - ".java".length()).replace('/', '.'))
          .sorted()
          .<Class<?>>map(CorpusTest::load)
          .toList();
    }
  }

  private static Class<?> load(String name) {
    try {
      return Class.forName(name);
    } catch (ClassNotFoundException e) {
      throw new AssertionError(e);
    }
  }

  private static List<Path> inputs(Class<?> target) {
    try (Stream<Path> files = Files.list(CORPUS.resolve(target.getSimpleName()))) {
      return files.sorted().toList();
    } catch (IOException e) {
      throw new AssertionError("no corpus of " + target.getSimpleName(), e);
    }
  }
}
