package io.pgveil.fuzz;

/** A parser did what it must not, though it threw nothing. */
public final class Violation extends AssertionError {
  private static final long serialVersionUID = 1L;

  public Violation(String what) {
    super(what);
  }

  public Violation(String what, Throwable cause) {
    super(what, cause);
  }

  /** Fails unless {@code holds}. */
  public static void unless(boolean holds, String what) {
    if (!holds) {
      throw new Violation(what);
    }
  }
}
