package io.pgveil.linux;

/** Error numbers of Linux (asm-generic/errno.h; the same on x86-64 and aarch64). */
public final class Errno {
  public static final int EPERM = 1;
  public static final int ENOENT = 2;
  public static final int EINTR = 4;
  public static final int EIO = 5;
  public static final int ENXIO = 6;
  public static final int E2BIG = 7;
  public static final int EBADF = 9;
  public static final int EAGAIN = 11;
  public static final int ENOMEM = 12;
  public static final int EACCES = 13;
  public static final int EBUSY = 16;
  public static final int EEXIST = 17;
  public static final int EXDEV = 18;
  public static final int ENODEV = 19;
  public static final int ENOTDIR = 20;
  public static final int EISDIR = 21;
  public static final int EINVAL = 22;
  public static final int ENFILE = 23;
  public static final int EMFILE = 24;
  public static final int EFBIG = 27;
  public static final int ENOSPC = 28;
  public static final int EROFS = 30;
  public static final int EMLINK = 31;
  public static final int ERANGE = 34;
  public static final int ENAMETOOLONG = 36;
  public static final int ENOSYS = 38;
  public static final int ENOTEMPTY = 39;
  public static final int ELOOP = 40;
  public static final int ENODATA = 61;
  public static final int EOPNOTSUPP = 95;
  public static final int ECONNABORTED = 103;
  public static final int ENOTCONN = 107;
  public static final int ECANCELED = 125;
  public static final int ESTALE = 116;
  public static final int EDQUOT = 122;

  private Errno() {}

  /** The symbolic name and meaning of {@code errno}, for messages; takes either sign. */
  public static String describe(int errno) {
    int e = Math.abs(errno);
    return switch (e) {
      case EPERM -> "EPERM, operation not permitted";
      case ENOENT -> "ENOENT, no such file or directory";
      case EINTR -> "EINTR, interrupted";
      case EIO -> "EIO, input/output error";
      case ENXIO -> "ENXIO, no such device or address";
      case EBADF -> "EBADF, bad file descriptor";
      case EAGAIN -> "EAGAIN, resource temporarily unavailable";
      case ENOMEM -> "ENOMEM, out of memory";
      case EACCES -> "EACCES, permission denied";
      case EBUSY -> "EBUSY, device or resource busy";
      case EEXIST -> "EEXIST, file exists";
      case EXDEV -> "EXDEV, cross-device link";
      case ENODEV -> "ENODEV, no such device";
      case ENOTDIR -> "ENOTDIR, not a directory";
      case EISDIR -> "EISDIR, is a directory";
      case EINVAL -> "EINVAL, invalid argument";
      case ENFILE -> "ENFILE, too many open files in system";
      case EMFILE -> "EMFILE, too many open files";
      case EFBIG -> "EFBIG, file too large";
      case ENOSPC -> "ENOSPC, no space left on device";
      case EROFS -> "EROFS, read-only file system";
      case EMLINK -> "EMLINK, too many links";
      case ENAMETOOLONG -> "ENAMETOOLONG, file name too long";
      case ENOSYS -> "ENOSYS, function not implemented";
      case ENOTEMPTY -> "ENOTEMPTY, directory not empty";
      case ELOOP -> "ELOOP, too many levels of symbolic links";
      case EOPNOTSUPP -> "EOPNOTSUPP, operation not supported";
      case ECONNABORTED -> "ECONNABORTED, software caused connection abort";
      case ENOTCONN -> "ENOTCONN, transport endpoint is not connected";
      case ECANCELED -> "ECANCELED, operation canceled";
      case ESTALE -> "ESTALE, stale file handle";
      case EDQUOT -> "EDQUOT, disk quota exceeded";
      default -> "errno " + e;
    };
  }
}
