package io.pgveil.linux;

/**
 * An io_uring(7) for one thread that has one operation under way at a time: {@link #next} gives the
 * submission entry to fill, {@link #submitAndWait} hands it over and waits for its end.
 *
 * <p>Entries have 128 bytes (IORING_SETUP_SQE128), of which the last 80 belong to commands of
 * drivers. A system may forbid io_uring altogether (sysctl {@code kernel.io_uring_disabled}, the
 * system call filter of a container): then {@link #create} fails.
 *
 * <p>Source of the numbers: include/uapi/linux/io_uring.h.
 */
public final class IoUring {
  /** Operation: a command of the driver behind the descriptor. */
  public static final int OP_URING_CMD = 46;

  /** Bytes of a submission entry. */
  public static final int ENTRY_SIZE = 128;

  private static final long SETUP = 425;
  private static final long ENTER = 426;

  /** Completions wait until the thread enters the kernel: no interrupt to make it run them. */
  private static final int SETUP_COOP_TASKRUN = 1 << 8;

  private static final int SETUP_SQE128 = 1 << 10;
  private static final int ENTER_GETEVENTS = 1;
  private static final int FEATURE_SINGLE_MMAP = 1;
  private static final long OFFSET_RINGS = 0;
  private static final long OFFSET_ENTRIES = 0x10000000L;
  private static final int COMPLETION_SIZE = 16;

  // struct io_uring_params: sq_entries, cq_entries, flags, .., features (20), ..,
  // struct io_sqring_offsets (at 40), struct io_cqring_offsets (at 80), 120 bytes in all.
  private static final int PARAMS_SIZE = 120;

  private final int fd;
  private final long rings;
  private final long ringsSize;
  private final long entries;
  private final long entriesSize;

  // Addresses of counters that are shared with the kernel, and masks, in the rings.
  private final long submitTail;
  private final int submitMask;
  private final long submitArray;
  private final long completeHead;
  private final long completeTail;
  private final int completeMask;
  private final long completions;

  private IoUring(int fd, long params) throws LinuxException {
    this.fd = fd;
    int submissions = Memory.getInt(params);
    ringsSize =
        Math.max(
            Memory.getInt(params + 40 + 24) + submissions * 4L,
            Memory.getInt(params + 80 + 20) + (long) Memory.getInt(params + 4) * COMPLETION_SIZE);
    entriesSize = (long) submissions * ENTRY_SIZE;
    rings = LinuxException.check(Posix.mmapShared(fd, ringsSize, OFFSET_RINGS), "mmap of io_uring");
    long mapped = Posix.mmapShared(fd, entriesSize, OFFSET_ENTRIES);
    if (mapped < 0) {
      Posix.munmap(rings, ringsSize);
    }
    entries = LinuxException.check(mapped, "mmap of io_uring");
    submitTail = rings + Memory.getInt(params + 40 + 4);
    submitMask = Memory.getInt(rings + Memory.getInt(params + 40 + 8));
    submitArray = rings + Memory.getInt(params + 40 + 24);
    completeHead = rings + Memory.getInt(params + 80);
    completeTail = rings + Memory.getInt(params + 80 + 4);
    completeMask = Memory.getInt(rings + Memory.getInt(params + 80 + 8));
    completions = rings + Memory.getInt(params + 80 + 20);
  }

  /**
   * A ring for one operation at a time. It may be used by another thread than the one that made it.
   *
   * @throws LinuxException if the system has no io_uring, forbids it, or has no memory for it
   */
  public static IoUring create() throws LinuxException {
    long params = Posix.mmapAnonymous(PARAMS_SIZE);
    LinuxException.check(params, "memory for io_uring");
    try {
      Memory.putInt(params + 8, SETUP_SQE128 | SETUP_COOP_TASKRUN);
      int fd = LinuxException.check(Posix.ioUring(SETUP, 1, params, 0, 0), "io_uring_setup");
      try {
        if ((Memory.getInt(params + 20) & FEATURE_SINGLE_MMAP) == 0) {
          throw new LinuxException("io_uring of this kernel", Errno.ENOSYS);
        }
        return new IoUring(fd, params);
      } catch (LinuxException e) {
        Posix.close(fd);
        throw e;
      }
    } finally {
      Posix.munmap(params, PARAMS_SIZE);
    }
  }

  /** The address of the next submission entry, all zero. */
  public long next() {
    int tail = Memory.getInt(submitTail);
    long entry = entries + (long) (tail & submitMask) * ENTRY_SIZE;
    Memory.fill(entry, ENTRY_SIZE, 0);
    return entry;
  }

  /**
   * Submits the entry that {@link #next} gave and waits until it is finished.
   *
   * @return the result of the operation or -errno; the error of io_uring_enter(2) is returned the
   *     same way
   */
  public int submitAndWait() {
    int tail = Memory.getInt(submitTail);
    Memory.putInt(submitArray + 4L * (tail & submitMask), tail & submitMask);
    Memory.putIntRelease(submitTail, tail + 1);
    int submit = 1;
    int head = Memory.getInt(completeHead);
    while (Memory.getIntAcquire(completeTail) == head) {
      int result = Posix.ioUring(ENTER, fd, submit, 1, ENTER_GETEVENTS);
      if (result >= submit) {
        submit = 0;
      } else if (result != -Errno.EINTR && result != -Errno.EAGAIN) {
        return result < 0 ? result : -Errno.EIO;
      }
    }
    int result = Memory.getInt(completions + (long) (head & completeMask) * COMPLETION_SIZE + 8);
    Memory.putIntRelease(completeHead, head + 1);
    return result;
  }

  /** Ends what is under way and frees the ring; no thread may use it. */
  public void close() {
    Posix.munmap(entries, entriesSize);
    Posix.munmap(rings, ringsSize);
    Posix.close(fd);
  }
}
