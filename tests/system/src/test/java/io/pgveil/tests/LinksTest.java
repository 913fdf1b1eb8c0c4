package io.pgveil.tests;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The documents of the project. */
class LinksTest {
  private static final Pattern LINK = Pattern.compile("]\\(([^)#:]+)(#[^)]*)?\\)");

  @Test
  void everyRelativeLinkLeadsSomewhere() throws IOException {
    List<String> broken = new ArrayList<>();
    int links = 0;
    for (Path document : documents()) {
      var link = LINK.matcher(Files.readString(document));
      for (; link.find(); links++) {
        if (!Files.exists(document.resolveSibling(link.group(1)))) {
          broken.add(Project.root().relativize(document) + ": " + link.group(1));
        }
      }
    }
    assertThat(links).isPositive();
    assertThat(broken).isEmpty();
  }

  private static List<Path> documents() throws IOException {
    try (Stream<Path> top = Files.list(Project.root());
        Stream<Path> docs = Files.walk(Project.root().resolve("docs"))) {
      return Stream.concat(top, docs).filter(p -> p.toString().endsWith(".md")).toList();
    }
  }
}
