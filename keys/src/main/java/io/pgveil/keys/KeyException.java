package io.pgveil.keys;

import io.pgveil.linux.Errno;
import org.jspecify.annotations.Nullable;

/**
 * A key operation that failed and changed nothing, unless its kind is {@link Kind#SYNC_FAILED}.
 *
 * <p>{@link #primary()}, {@link #detail()} and {@link #hint()} are the texts that pg_tde 2.2 gives
 * in the same situation (behaviour, sections 3 and 4) where it has one; {@link #getMessage()} adds
 * the object, the reason and the remedy that pg_tde leaves out.
 */
public final class KeyException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What went wrong, with the SQLSTATE that pg_tde reports. */
  public enum Kind {
    /** An argument that is empty, too long, unknown or malformed. */
    INVALID_ARGUMENT("22023"),
    NULL_ARGUMENT("22004"),
    /** The provider type does not exist. */
    INVALID_TYPE("22000"),
    /** There is no key provider of this name. */
    NO_SUCH_PROVIDER("22023"),
    /** The name exists already. */
    DUPLICATE("42710"),
    /** The key or provider is still needed. */
    IN_USE("55006"),
    /** The operation makes no sense in this state. */
    REFUSED("XX000"),
    /** No principal key is set for the scope, and there is no default key. */
    NOT_CONFIGURED("XX000"),
    /** The provider was asked for a key by name and does not have it. */
    NO_SUCH_KEY("XX000"),
    /** A key that a key file names is not in its provider. */
    KEY_NOT_FOUND("P0002"),
    /** The provider could not be asked, or gave no usable answer. */
    PROVIDER_FAILED("XX000"),
    /** A keyring or credential is refused for its place, owner or mode. */
    INSECURE("XX000"),
    /** The fetched principal key is not the one that signed the key file. */
    WRONG_KEY("XX001"),
    /** A file is truncated or garbled. */
    CORRUPTED("XX001"),
    /** A file is of a version that this program does not know. */
    UNKNOWN_VERSION("XX000"),
    /** A system call failed; {@link KeyException#errno()} tells. */
    IO("XX000"),
    /** fsync failed: what is on disk is not known, and the file takes no more changes. */
    SYNC_FAILED("XX000");

    private final String sqlState;

    Kind(String sqlState) {
      this.sqlState = sqlState;
    }

    public String sqlState() {
      return sqlState;
    }
  }

  private final Kind kind;
  private final String primary;
  private final @Nullable String detail;
  private final @Nullable String hint;
  private final int errno;

  /** A failure that its primary text describes completely. */
  public KeyException(Kind kind, String primary) {
    this(kind, primary, null, null, null, null);
  }

  /**
   * @param remedy what to do about it, for {@link #getMessage()} alone
   */
  public KeyException(Kind kind, String primary, String remedy) {
    this(kind, primary, null, null, remedy, null);
  }

  /**
   * @param detail pg_tde's DETAIL
   * @param hint pg_tde's HINT
   * @param more object, reason and remedy for {@link #getMessage()}, where the other texts lack
   *     them
   */
  public KeyException(
      Kind kind,
      String primary,
      @Nullable String detail,
      @Nullable String hint,
      @Nullable String more,
      @Nullable Throwable cause) {
    super(join(primary, detail, more, hint), cause);
    this.kind = kind;
    this.primary = primary;
    this.detail = detail;
    this.hint = hint;
    this.errno = cause instanceof KeyException e ? e.errno : Errno.EIO;
  }

  private KeyException(Kind kind, String primary, String remedy, int errno) {
    super(join(primary, null, remedy, null));
    this.kind = kind;
    this.primary = primary;
    this.detail = null;
    this.hint = null;
    this.errno = errno;
  }

  /** A system call that failed; {@code errno} of either sign. */
  static KeyException io(Kind kind, String what, int errno) {
    int e = Math.abs(errno);
    String remedy =
        switch (e) {
          case Errno.ENOSPC, Errno.EDQUOT -> "free some space on its file system";
          case Errno.EACCES, Errno.EPERM -> "check owner and mode of the file and its directory";
          case Errno.EROFS -> "remount its file system read-write";
          default -> "check the file and the device that holds it";
        };
    return new KeyException(kind, what + ": " + Errno.describe(e), remedy, e);
  }

  private static String join(
      String primary, @Nullable String detail, @Nullable String more, @Nullable String hint) {
    StringBuilder text = new StringBuilder(primary);
    if (detail != null) {
      text.append(": ").append(detail);
    }
    if (more != null) {
      text.append("; ").append(more);
    }
    if (hint != null) {
      text.append(" (").append(hint).append(')');
    }
    return text.toString();
  }

  public Kind kind() {
    return kind;
  }

  /** The message as pg_tde words it. */
  public String primary() {
    return primary;
  }

  public @Nullable String detail() {
    return detail;
  }

  public @Nullable String hint() {
    return hint;
  }

  /** The error number to give to a file operation that needed the key; EIO unless I/O failed. */
  public int errno() {
    return errno;
  }
}
