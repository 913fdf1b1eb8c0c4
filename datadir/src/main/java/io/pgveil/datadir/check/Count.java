package io.pgveil.datadir.check;

/** What a check counts. */
public enum Count {
  FILES("files"),
  BYTES("bytes"),
  KEYS("internal keys of relations"),
  WAL_RANGES("WAL ranges"),
  SEAL_KEYS("seal keys"),
  /** Files of relations that have an internal key, empty ones too. */
  RELATION_FILES("encrypted relation files"),
  /** Encrypted pages that are right. */
  PAGES("encrypted pages"),
  /** All-zero pages of relations that have an internal key. */
  ZERO_PAGES("zero pages"),
  CLEAR_RELATION_FILES("clear relation files"),
  CLEAR_PAGES("clear pages"),
  SEALED_FILES("sealed files"),
  /** Files of a pg_tde cluster that pgveil would seal. */
  PLAIN_FILES("plain files"),
  WAL_SEGMENTS("WAL segments"),
  /** WAL segments whose first page was never written: spare ones. */
  SPARE_WAL_SEGMENTS("spare WAL segments"),
  WAL_PAGES("WAL pages"),
  /** WAL pages that no range encrypts, counted in {@link #WAL_PAGES} too. */
  CLEAR_WAL_PAGES("clear WAL pages"),
  WAL_RECORDS("WAL records"),
  /** Files of which only the size was looked at: temporary ones, and those without a usable key. */
  UNCHECKED_FILES("files not checked");

  private final String text;

  Count(String text) {
    this.text = text;
  }

  /** For people. */
  public String text() {
    return text;
  }
}
