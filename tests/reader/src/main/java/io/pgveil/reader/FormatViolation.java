package io.pgveil.reader;

/** A file is not as its format says: where, what the format demands, and what is there. */
public final class FormatViolation extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String file;
  private final long offset;
  private final String expected;
  private final String found;

  FormatViolation(String file, long offset, String expected, String found) {
    super(file + ", offset " + offset + ": expected " + expected + ", found " + found);
    this.file = file;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
  }

  /** The file's name as the reader was given it. */
  public String file() {
    return file;
  }

  /** Byte offset in the file. */
  public long offset() {
    return offset;
  }

  /** What the format demands there. */
  public String expected() {
    return expected;
  }

  /** What is there instead. */
  public String found() {
    return found;
  }
}
