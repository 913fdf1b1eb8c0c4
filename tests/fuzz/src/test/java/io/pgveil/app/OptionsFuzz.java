package io.pgveil.app;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;

/** The command line: an input is words, one a line. Nothing is executed. */
public final class OptionsFuzz {
  private static final CommandLine LINE = Main.commandLine(null, false).setExpandAtFiles(false);

  private OptionsFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    String[] words = new Bits(input).text().split("\n", -1);
    try {
      LINE.parseArgs(words);
    } catch (ParameterException e) {
      Violation.unless(e.getMessage() != null, "an empty message");
    }
  }
}
