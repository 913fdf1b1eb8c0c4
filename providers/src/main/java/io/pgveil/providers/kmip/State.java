package io.pgveil.providers.kmip;

/** What a key may be used for (KMIP 1.4, section 3.22). */
enum State {
  /** The server does not say. */
  UNKNOWN("unknown"),
  PRE_ACTIVE("Pre-Active"),
  ACTIVE("Active"),
  DEACTIVATED("Deactivated"),
  COMPROMISED("Compromised"),
  DESTROYED("Destroyed"),
  DESTROYED_COMPROMISED("Destroyed Compromised");

  private final String text;

  State(String text) {
    this.text = text;
  }

  static State of(int number) {
    return number > 0 && number < values().length ? values()[number] : UNKNOWN;
  }

  /** Whether there is no key any more. */
  boolean isDestroyed() {
    return this == DESTROYED || this == DESTROYED_COMPROMISED;
  }

  /** Whether it still serves what it protects, and nothing new. */
  boolean isRetired() {
    return this == DEACTIVATED || this == COMPROMISED;
  }

  /** Its name in the standard. */
  @Override
  public String toString() {
    return text;
  }
}
