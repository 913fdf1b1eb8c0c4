package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * docs/hazards.md and the tests name the same 26 hazards and the same facts A to L, and every test
 * named there exists. The comment of each test of a hazard or fact says how it was seen to fail:
 * "Seen failing: what was taken out; what the test then said", or "Not seen failing:" and why.
 */
class HazardsTest {
  private static final Pattern ROW = Pattern.compile("(?m)^\\| (\\d+|[A-L]) \\|.*$");
  private static final Pattern NAMED = Pattern.compile("`(\\w+Test#\\w+)`");
  private static final Pattern METHOD =
      Pattern.compile(" void ((hazard\\d+|fact[A-L])[A-Z_]\\w*)\\(");
  private static final Pattern SEEN =
      Pattern.compile("[Ss]een failing: [^;]+; |Not seen failing: ");
  private static final Pattern FACT = Pattern.compile("\\bFact ([A-L])\\b");

  /**
   * Seen failing: row 9 taken out; 1 to 8 and 10 to 26 do not contain exactly 1 to 26. A test
   * renamed; it is not among the tests.
   */
  @Test
  void everyHazardHasARowAndATest() throws IOException {
    Map<String, Set<String>> rows = rows(key -> Character.isDigit(key.charAt(0)));
    assertThat(rows.keySet())
        .containsExactlyInAnyOrderElementsOf(
            IntStream.rangeClosed(1, 26).mapToObj(Integer::toString).toList());
    Set<String> tests = comments().keySet();
    rows.forEach(
        (number, named) -> {
          assertThat(named).as("tests of hazard %s", number).isNotEmpty();
          assertThat(tests).as("tests of hazard %s", number).containsAll(named);
          assertThat(named)
              .as("tests of hazard %s", number)
              .allMatch(t -> t.matches("\\w+#hazard" + number + "[A-Z_]\\w*"));
        });
  }

  /**
   * Seen failing: row L taken out; A to K do not contain L. A test's "Fact B" taken out, and a test
   * of fact A renamed; the tests by the facts that their comments name are others.
   */
  @Test
  void everyFactHasARowAndTheTestsThatNameIt() throws IOException {
    Map<String, Set<String>> rows = rows(key -> Character.isLetter(key.charAt(0)));
    assertThat(rows.keySet()).containsExactlyElementsOf(List.of("ABCDEFGHIJKL".split("")));
    Map<String, Set<String>> named = new TreeMap<>();
    comments()
        .forEach(
            (test, comment) ->
                FACT.matcher(comment)
                    .results()
                    .forEach(
                        m -> named.computeIfAbsent(m.group(1), f -> new TreeSet<>()).add(test)));
    assertThat(named).as("tests by the facts that their comments name").isEqualTo(rows);
  }

  /** Seen failing: the notes of KillTest taken out; its two tests are said to say nothing. */
  @Test
  void everyTestSaysWithWhatTakenOutItWasSeenToFail() throws IOException {
    Map<String, String> silent = comments();
    silent.values().removeIf(comment -> SEEN.matcher(comment).find());
    assertThat(silent.keySet()).as("tests that do not say how they were seen to fail").isEmpty();
  }

  /** Tests named by each row of docs/hazards.md whose key is wanted. */
  private static Map<String, Set<String>> rows(Predicate<String> wanted) throws IOException {
    String doc = Files.readString(Project.root().resolve("docs/hazards.md"));
    Map<String, Set<String>> rows = new TreeMap<>();
    for (MatchResult row : (Iterable<MatchResult>) ROW.matcher(doc).results()::iterator) {
      if (wanted.test(row.group(1))) {
        Set<String> named =
            NAMED.matcher(row.group()).results().map(m -> m.group(1)).collect(Collectors.toSet());
        assertThat(rows.put(row.group(1), named)).as("second row %s", row.group(1)).isNull();
      }
    }
    return rows;
  }

  /** What stands before each test of a hazard or fact, back to the method before it. */
  private static Map<String, String> comments() throws IOException {
    Map<String, String> found = new TreeMap<>();
    try (Stream<Path> files = Files.walk(Project.root())) {
      for (Path file :
          files
              .filter(p -> p.toString().contains("/src/test/java/"))
              .filter(p -> p.toString().endsWith("Test.java"))
              .toList()) {
        String name = String.valueOf(file.getFileName()).replace(".java", "");
        String source = Files.readString(file);
        METHOD
            .matcher(source)
            .results()
            .forEach(
                m -> {
                  int before = Math.max(0, source.lastIndexOf("\n  }\n", m.start()));
                  String comment = source.substring(before, m.start());
                  found.put(name + "#" + m.group(1), comment.replaceAll("\\s+(\\* )?", " "));
                });
      }
    }
    return found;
  }
}
