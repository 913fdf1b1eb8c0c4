package io.pgveil.app;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Rows of text in columns; numbers stand at the right. */
final class TextTable {
  private final List<Object[]> rows = new ArrayList<>();

  TextTable(Object... header) {
    rows.add(header);
  }

  void row(Object... cells) {
    rows.add(cells);
  }

  @Override
  public String toString() {
    int columns = rows.getFirst().length;
    int[] widths = new int[columns];
    for (Object[] row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], row[i].toString().length());
      }
    }
    StringBuilder out = new StringBuilder();
    for (Object[] row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < columns; i++) {
        String cell = row[i].toString();
        char[] fill = new char[widths[i] - cell.length()];
        Arrays.fill(fill, ' ');
        if (row[i] instanceof Number) {
          line.append(fill).append(cell);
        } else {
          line.append(cell).append(fill);
        }
        line.append("  ");
      }
      out.append(line.toString().stripTrailing()).append('\n');
    }
    return out.toString();
  }
}
