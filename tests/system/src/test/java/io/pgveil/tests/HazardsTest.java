package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * docs/hazards.md and the tests name the same 26 hazards, and every test named there exists. Seen
 * to fail with a row's test renamed, and with a row taken out.
 */
class HazardsTest {
  private static final Pattern ROW = Pattern.compile("(?m)^\\| (\\d+) \\|.*$");
  private static final Pattern NAMED = Pattern.compile("`(\\w+Test)#(\\w+)`");
  private static final Pattern METHOD = Pattern.compile("void ((hazard\\d+)(?=[A-Z_])\\w*)\\(");

  @Test
  void everyHazardHasARowAndATest() throws IOException {
    String doc = Files.readString(Project.root().resolve("docs/hazards.md"));
    Set<String> tests = hazardTests();
    Set<Integer> rows = new TreeSet<>();
    for (MatchResult row : (Iterable<MatchResult>) ROW.matcher(doc).results()::iterator) {
      int number = Integer.parseInt(row.group(1));
      rows.add(number);
      Set<String> named =
          NAMED
              .matcher(row.group())
              .results()
              .map(m -> m.group(1) + "#" + m.group(2))
              .collect(Collectors.toSet());
      assertThat(named).as("tests of hazard %d", number).isNotEmpty();
      assertThat(tests).as("tests of hazard %d", number).containsAll(named);
      assertThat(named)
          .as("tests of hazard %d", number)
          .allMatch(t -> t.matches("\\w+#hazard" + number + "[A-Z_]\\w*"));
    }
    assertThat(rows).containsExactlyElementsOf(IntStream.rangeClosed(1, 26).boxed().toList());
  }

  private static Set<String> hazardTests() throws IOException {
    Set<String> found = new TreeSet<>();
    try (Stream<Path> files = Files.walk(Project.root())) {
      for (Path file :
          files
              .filter(p -> p.toString().contains("/src/test/java/"))
              .filter(p -> p.toString().endsWith("Test.java"))
              .toList()) {
        String name = String.valueOf(file.getFileName()).replace(".java", "");
        METHOD
            .matcher(Files.readString(file))
            .results()
            .forEach(m -> found.add(name + "#" + m.group(1)));
      }
    }
    return found;
  }
}
