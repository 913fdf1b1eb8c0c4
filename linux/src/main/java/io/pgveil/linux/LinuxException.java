package io.pgveil.linux;

import java.io.IOException;

/** A failed system call: names the call, the object and the error. */
public final class LinuxException extends IOException {
  private static final long serialVersionUID = 1L;

  private final int errno;

  /**
   * @param what the call and its object, for example {@code "fsync of pg_tde/wal_keys"}
   * @param errno the error number, of either sign
   */
  public LinuxException(String what, int errno) {
    super(what + ": " + Errno.describe(errno));
    this.errno = Math.abs(errno);
  }

  /** The error number, positive. */
  public int errno() {
    return errno;
  }

  /** Returns {@code result} if it is not negative, and throws otherwise. */
  public static int check(int result, String what) throws LinuxException {
    if (result < 0) {
      throw new LinuxException(what, result);
    }
    return result;
  }

  /** Returns {@code result} if it is not negative, and throws otherwise. */
  public static long check(long result, String what) throws LinuxException {
    if (result < 0) {
      throw new LinuxException(what, (int) result);
    }
    return result;
  }
}
