package io.pgveil.keys;

import org.jspecify.annotations.Nullable;

/** A provider that could not do what was asked. The message names its object and the reason. */
public final class ProviderException extends Exception {
  private static final long serialVersionUID = 1L;

  /** The kinds of failure, with the texts that pg_tde gives as DETAIL. */
  public enum Code {
    /** Not reachable now. */
    UNAVAILABLE("Resource not available"),
    /** The provider, or its certificate, is not of use with these settings and credentials. */
    REFUSED("Resource not available"),
    /** An answer that cannot be understood. */
    INVALID_RESPONSE("Invalid response from keyring provider"),
    /** A key that cannot be one. */
    INVALID_KEY("Invalid key"),
    CORRUPTED("Data corrupted"),
    /** The key to be stored exists. */
    EXISTS("Invalid key"),
    /** The key may protect nothing new: it is deactivated or compromised. */
    RETIRED("Invalid key"),
    /** The keyring or credential is refused for its owner or mode. */
    INSECURE("Resource not available"),
    /** The keyring or credential lies where the encrypted data lies. */
    MISPLACED("Resource not available"),
    /** The directory in which the keyring lies does not exist. */
    MISSING("Resource not available"),
    /** The file system of the keyring is full. */
    NO_SPACE("Resource not available");

    private final String text;

    Code(String text) {
      this.text = text;
    }

    public String text() {
      return text;
    }
  }

  private final Code code;

  public ProviderException(Code code, String message) {
    this(code, message, null);
  }

  public ProviderException(Code code, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.code = code;
  }

  public Code code() {
    return code;
  }
}
