package io.pgveil.app.error;

/**
 * A command cannot do what it was asked to: what failed, on which object, why, what to do, and the
 * exit code. The message holds no key material.
 */
public final class CommandException extends Exception {
  private static final long serialVersionUID = 1L;

  private final ExitCode exitCode;
  private final String remedy;

  /** With the exit code's own remedy. */
  public CommandException(ExitCode exitCode, String what, Object object, String reason) {
    this(exitCode, what + ": " + object + ": " + reason, exitCode.remedy());
  }

  /**
   * @param message what failed, the object and the reason, separated by colons
   * @param remedy what to do in this case
   */
  public CommandException(ExitCode exitCode, String message, String remedy) {
    super(message);
    this.exitCode = exitCode;
    this.remedy = remedy;
  }

  /** Keeps what went wrong below for {@code --debug}. */
  public CommandException causedBy(Throwable cause) {
    initCause(cause);
    return this;
  }

  public ExitCode exitCode() {
    return exitCode;
  }

  public String remedy() {
    return remedy;
  }

  /** The block that is printed on standard error. */
  public String block() {
    return "pgveil: %s%nremedy: %s".formatted(getMessage(), remedy);
  }
}
