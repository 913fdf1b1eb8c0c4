package io.pgveil.fuse;

import io.pgveil.fuse.FileSystem.SessionInfo;
import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.Memory;
import org.jspecify.annotations.Nullable;

/**
 * INIT: version and features of a connection.
 *
 * <p>What is not asked for, and why:
 *
 * <ul>
 *   <li>ATOMIC_O_TRUNC: without it open(2) with O_TRUNC arrives as OPEN, then SETATTR of the size.
 *       One way to truncate, with the kernel holding back cached writes as for ftruncate(2).
 *   <li>DONT_MASK: the kernel applies the umask of the caller to the mode of new files.
 *   <li>HANDLE_KILLPRIV(_V2): the kernel takes away set-user-id bits by SETATTR itself.
 *   <li>POSIX_LOCKS, FLOCK_LOCKS: locks are kept by the kernel; all users are on this host.
 *   <li>AUTO_INVAL_DATA: files change through the mount only, so cached pages stay right.
 *   <li>EXPORT_SUPPORT, CACHE_SYMLINKS, splicing and the zero-message open.
 * </ul>
 */
final class Handshake {
  private static final int WANTED =
      Protocol.INIT_ASYNC_READ
          | Protocol.INIT_BIG_WRITES
          | Protocol.INIT_DO_READDIRPLUS
          | Protocol.INIT_READDIRPLUS_AUTO
          | Protocol.INIT_ASYNC_DIO
          | Protocol.INIT_PARALLEL_DIROPS
          | Protocol.INIT_MAX_PAGES;

  private Handshake() {}

  /**
   * Answers the INIT request of {@code size} bytes at {@code in} by a reply of {@link #replySize}
   * bytes at {@code out}.
   *
   * @param rings whether workers of rings are there, should the kernel offer io_uring: once agreed,
   *     all requests wait until every queue is served
   * @return what was agreed on; null if the kernel must ask again with our major version
   * @throws MountException if the kernel cannot be served; nothing is to be sent then
   */
  static @Nullable SessionInfo answer(
      long in, int size, MountOptions options, boolean rings, long out) throws MountException {
    if (size < Protocol.IN_HEADER_SIZE + Protocol.argumentSize(Protocol.INIT)
        || Memory.getInt(in) != size
        || Memory.getInt(in + 4) != Protocol.INIT) {
      throw new MountException(
          Kind.OTHER, "The kernel did not begin the FUSE connection with INIT");
    }
    long args = in + Protocol.IN_HEADER_SIZE;
    int major = Memory.getInt(args);
    int minor = Memory.getInt(args + 4);
    if (major < Protocol.MAJOR || (major == Protocol.MAJOR && minor < Protocol.MINOR_OLDEST)) {
      throw new MountException(
          Kind.KERNEL_TOO_OLD,
          "The kernel speaks FUSE protocol "
              + major
              + "."
              + minor
              + ", needed is "
              + Protocol.MAJOR
              + "."
              + Protocol.MINOR_OLDEST
              + " or later; use Linux 5.4 or later");
    }
    int wanted = WANTED | (options.writebackCache() ? Protocol.INIT_WRITEBACK_CACHE : 0);
    int flags = Memory.getInt(args + 12) & wanted;
    boolean overRings = rings && offersRings(args, Memory.getInt(in));
    int used = Math.min(minor, Protocol.MINOR_NEWEST);
    int pages = options.maxWrite() / Protocol.PAGE;
    Memory.putInt(out, replySize());
    Memory.putInt(out + 4, 0);
    Memory.putLong(out + 8, Memory.getLong(in + 8));
    long o = out + Protocol.OUT_HEADER_SIZE;
    Memory.fill(o, Protocol.INIT_OUT_SIZE, 0);
    Memory.putInt(o, Protocol.MAJOR);
    Memory.putInt(o + 4, used);
    if (major > Protocol.MAJOR) {
      return null;
    }
    Memory.putInt(o + 8, Math.max(Memory.getInt(args + 8), options.readAheadKib() << 10));
    Memory.putInt(o + 12, flags | (overRings ? Protocol.INIT_EXTENDED : 0));
    Memory.putShort(o + 16, options.maxBackground());
    // Where the kernel begins to call the device congested: three quarters, as it does itself.
    Memory.putShort(o + 18, Math.max(1, options.maxBackground() * 3 / 4));
    Memory.putInt(o + 20, options.maxWrite());
    Memory.putInt(o + 24, 1); // granularity of times in nanoseconds
    Memory.putShort(o + 28, pages);
    Memory.putInt(o + 32, overRings ? Protocol.INIT2_OVER_IO_URING : 0);
    return new SessionInfo(
        used, (flags & Protocol.INIT_WRITEBACK_CACHE) != 0, options.maxWrite(), pages, overRings);
  }

  /** Whether the request has a second word of flags with io_uring in it. */
  private static boolean offersRings(long args, int size) {
    return size >= Protocol.IN_HEADER_SIZE + 20
        && (Memory.getInt(args + 12) & Protocol.INIT_EXTENDED) != 0
        && (Memory.getInt(args + 16) & Protocol.INIT2_OVER_IO_URING) != 0;
  }

  static int replySize() {
    return Protocol.OUT_HEADER_SIZE + Protocol.INIT_OUT_SIZE;
  }
}
