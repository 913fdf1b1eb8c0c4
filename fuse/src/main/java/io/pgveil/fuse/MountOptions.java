package io.pgveil.fuse;

import java.nio.file.Path;

/**
 * How to mount.
 *
 * @param mountPoint an empty directory
 * @param fsName what {@code mount} and {@code df} show as the source
 * @param subtype the type is shown as {@code fuse.<subtype>}
 * @param allowOther users other than the one that mounts (root included) may use the mount; an
 *     ordinary user needs {@code user_allow_other} in /etc/fuse.conf for it
 * @param defaultPermissions the kernel checks owner and mode; without it every file operation is
 *     allowed to everybody who reaches the mount
 * @param writebackCache the kernel collects writes of files not opened for direct I/O, and owns
 *     their size and modification time
 * @param threads workers; each can be held up by one fsync
 * @param ioUring serve the queue of each processor on that processor, over io_uring, where the
 *     kernel offers it (Linux 6.14 with the module parameter {@code fuse.enable_uring}); then
 *     {@code threads} are divided among the processors, at least two for each
 * @param maxWrite most bytes of one WRITE or READ, a multiple of 4096
 * @param readAheadKib how far the kernel reads ahead; above the kernel's default (128) only where
 *     /sys/class/bdi can be written, that is, as root
 * @param maxDirtyPercent which part of the kernel's limit for changed pages not yet written back
 *     this mount may use; the kernel gives FUSE 1, which slows bulk loads down. Set as root only
 * @param maxBackground how many read-ahead and write-back requests may be under way at once
 */
public record MountOptions(
    Path mountPoint,
    String fsName,
    String subtype,
    boolean allowOther,
    boolean defaultPermissions,
    boolean writebackCache,
    int threads,
    boolean ioUring,
    int maxWrite,
    int readAheadKib,
    int maxDirtyPercent,
    int maxBackground) {

  public MountOptions {
    require(isPlain(fsName), "fsName has control characters");
    require(subtype.matches("[A-Za-z0-9_-]+"), "subtype must be letters and digits");
    require(threads >= 1 && threads <= 256, "threads must be 1..256");
    require(
        maxWrite >= Protocol.PAGE && maxWrite <= 1 << 20 && maxWrite % Protocol.PAGE == 0,
        "maxWrite must be a multiple of 4096 up to 1 MiB");
    require(readAheadKib >= 0 && readAheadKib <= 1 << 20, "readAheadKib must be 0..1048576");
    require(maxDirtyPercent >= 1 && maxDirtyPercent <= 100, "maxDirtyPercent must be 1..100");
    require(maxBackground >= 1 && maxBackground <= 0xffff, "maxBackground must be 1..65535");
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  private static boolean isPlain(String s) {
    return s.chars().noneMatch(c -> c < ' ' || c == 0x7f);
  }

  /** Options with their default values. */
  public static Builder at(Path mountPoint) {
    return new Builder(mountPoint);
  }

  /** Builds {@link MountOptions}; the setters are named as their components. */
  public static final class Builder {
    private final Path mountPoint;
    private String fsName = "pgveil";
    private String subtype = "pgveil";
    private boolean allowOther;
    private boolean defaultPermissions = true;
    private boolean writebackCache = true;
    private int threads = Math.clamp(2L * Runtime.getRuntime().availableProcessors(), 8, 32);
    private boolean ioUring = true;
    private int maxWrite = 1 << 20;
    private int readAheadKib = 1024;
    private int maxDirtyPercent = 20;
    private int maxBackground = 64;

    private Builder(Path mountPoint) {
      this.mountPoint = mountPoint;
    }

    public Builder fsName(String value) {
      fsName = value;
      return this;
    }

    public Builder subtype(String value) {
      subtype = value;
      return this;
    }

    public Builder allowOther(boolean value) {
      allowOther = value;
      return this;
    }

    public Builder defaultPermissions(boolean value) {
      defaultPermissions = value;
      return this;
    }

    public Builder writebackCache(boolean value) {
      writebackCache = value;
      return this;
    }

    public Builder threads(int value) {
      threads = value;
      return this;
    }

    public Builder ioUring(boolean value) {
      ioUring = value;
      return this;
    }

    public Builder maxWrite(int value) {
      maxWrite = value;
      return this;
    }

    public Builder readAheadKib(int value) {
      readAheadKib = value;
      return this;
    }

    public Builder maxDirtyPercent(int value) {
      maxDirtyPercent = value;
      return this;
    }

    public Builder maxBackground(int value) {
      maxBackground = value;
      return this;
    }

    public MountOptions build() {
      return new MountOptions(
          mountPoint,
          fsName,
          subtype,
          allowOther,
          defaultPermissions,
          writebackCache,
          threads,
          ioUring,
          maxWrite,
          readAheadKib,
          maxDirtyPercent,
          maxBackground);
    }
  }
}
