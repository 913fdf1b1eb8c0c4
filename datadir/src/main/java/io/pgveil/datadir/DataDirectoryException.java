package io.pgveil.datadir;

import io.pgveil.keys.KeyException;
import io.pgveil.linux.Errno;
import org.jspecify.annotations.Nullable;

/** A request or a start that cannot be served: object, reason and, where there is one, remedy. */
public final class DataDirectoryException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What went wrong, for exit codes. */
  public enum Problem {
    IO,
    MISSING,
    NOT_A_CIPHER_DIRECTORY,
    PLAIN_POSTGRESQL,
    PG_TDE_CLUSTER,
    ALREADY_SERVED,
    UNSAFE_SETTINGS,
    UNKNOWN_VERSION,
    KEYS,
    SEALED_FILE
  }

  private final int errno;
  private final Problem problem;

  DataDirectoryException(int errno, String message) {
    this(Problem.IO, errno, message, null);
  }

  DataDirectoryException(Problem problem, String message) {
    this(problem, Errno.EIO, message, null);
  }

  DataDirectoryException(
      Problem problem, int errno, @Nullable String message, @Nullable Throwable cause) {
    super(message, cause);
    this.errno = Math.abs(errno);
    this.problem = problem;
  }

  /** A key that could not be read, made or stored. */
  static DataDirectoryException of(KeyException e) {
    return new DataDirectoryException(Problem.KEYS, errnoOf(e), e.getMessage(), e);
  }

  /**
   * Why a file operation that needed a key failed: a full disk as such, for PostgreSQL tells it and
   * goes on when there is room. Everything else is EIO; an ENOENT of a key file, for one, would be
   * taken for that of the relation, which may be missing.
   */
  static int errnoOf(KeyException e) {
    return isFull(e.errno()) ? e.errno() : Errno.EIO;
  }

  /** Whether an error, of either sign, says that there is no room and there may be some later. */
  static boolean isFull(int errno) {
    int e = Math.abs(errno);
    return e == Errno.ENOSPC || e == Errno.EDQUOT;
  }

  /** The error number that the caller of the file system sees, positive. */
  public int errno() {
    return errno;
  }

  public Problem problem() {
    return problem;
  }
}
