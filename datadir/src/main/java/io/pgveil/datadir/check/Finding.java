package io.pgveil.datadir.check;

/**
 * One thing that a check found.
 *
 * @param object path from the root of the data directory, as PostgreSQL sees it
 * @param what what is wrong with it, or worth knowing
 * @param remedy what to do about it; empty where nothing need be done
 */
public record Finding(Severity severity, String object, String what, String remedy) {
  /** How bad it is. */
  public enum Severity {
    /** Data or keys are damaged, missing or not protected. */
    FINDING,
    /** Worth knowing; nothing is damaged. */
    NOTE
  }
}
