package io.pgveil.fuse;

import java.io.IOException;

/** Mounting or unmounting failed; the message names the object, the reason and the remedy. */
public final class MountException extends IOException {
  private static final long serialVersionUID = 1L;

  /** What went wrong, for programs. */
  public enum Kind {
    /** There is no {@code /dev/fuse}, or the kernel has no FUSE. */
    NO_DEVICE,
    /** Mounting is not allowed to this user, or not with these options. */
    NO_PERMISSION,
    /** The mount point does not exist or is no directory. */
    MOUNT_POINT_MISSING,
    /** The mount point holds files, which a mount would hide. */
    MOUNT_POINT_NOT_EMPTY,
    /** Something living is mounted at the mount point. */
    MOUNT_POINT_BUSY,
    /** The mount of a process that died is still there; see {@link Mounts#removeStale}. */
    MOUNT_POINT_STALE,
    /** Neither fusermount3 nor fusermount is installed. */
    FUSERMOUNT_MISSING,
    /** The kernel speaks an older or another protocol. */
    KERNEL_TOO_OLD,
    /** The mount cannot be ended because files or directories of it are in use. */
    IN_USE,
    OTHER
  }

  private final Kind kind;

  MountException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
