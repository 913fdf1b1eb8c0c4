package io.pgveil.app.error;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;

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

  /**
   * Why an operation on a file has failed, as people say it: the exceptions of java.nio.file tell
   * it by their class and have only the path as message.
   */
  public static String reason(IOException e) {
    String text =
        switch (e) {
          case NoSuchFileException _ -> "no such file or directory";
          case AccessDeniedException _ -> "permission denied";
          case FileAlreadyExistsException _ -> "it exists already";
          case DirectoryNotEmptyException _ -> "the directory is not empty";
          case NotDirectoryException _ -> "not a directory";
          case FileSystemException f when f.getReason() != null -> f.getReason();
          // without the place in the text, which the other message adds on lines of its own
          case JsonProcessingException j -> j.getOriginalMessage();
          default -> e.getMessage() == null ? e.toString() : e.getMessage();
        };
    return e instanceof FileSystemException f && f.getFile() != null
        ? text + " (" + f.getFile() + ")"
        : text;
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
