package io.pgveil.reader;

/** A fork of a relation. */
public enum Fork {
  MAIN(0, ""),
  FSM(1, "_fsm"),
  VM(2, "_vm"),
  INIT(3, "_init");

  private final int number;
  private final String suffix;

  Fork(int number, String suffix) {
    this.number = number;
    this.suffix = suffix;
  }

  /** PostgreSQL's number of the fork. */
  public int number() {
    return number;
  }

  /** What its files' names have behind the relfilenumber: {@code _fsm}; empty for the main fork. */
  public String suffix() {
    return suffix;
  }
}
