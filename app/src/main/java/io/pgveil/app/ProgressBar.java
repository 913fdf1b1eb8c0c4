package io.pgveil.app;

import io.pgveil.app.storage.Storage;
import java.io.Console;
import java.io.PrintWriter;

/** A bar on a terminal, nothing elsewhere. For one thread. */
final class ProgressBar implements Storage.Progress {
  private static final int WIDTH = 40;

  private final PrintWriter out;
  private final boolean terminal;
  private int shown = -1;

  // null without a terminal again since JDK 25
  @SuppressWarnings("SystemConsoleNull")
  ProgressBar(PrintWriter out) {
    this.out = out;
    Console console = System.console();
    this.terminal = console != null && console.isTerminal();
  }

  @Override
  public void update(long done, long total) {
    int percent = total <= 0 ? 100 : (int) (100 * done / total);
    if (!terminal || percent == shown) {
      return;
    }
    shown = percent;
    int filled = WIDTH * percent / 100;
    out.printf(
        "\r[%s%s] %3d %% of %d MiB",
        "#".repeat(filled), " ".repeat(WIDTH - filled), percent, total >> 20);
    out.flush();
  }

  /** Takes the bar away. */
  void clear() {
    if (shown >= 0) {
      out.print("\r" + " ".repeat(WIDTH + 40) + "\r");
      out.flush();
    }
  }
}
