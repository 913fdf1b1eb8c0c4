package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The files of one directory, changed durably; every fsync is counted.
 *
 * <p>New files have mode 0600 and the directory's owner. Not locked: the callers hold the lock of
 * the file they change.
 */
final class DurableFiles implements AutoCloseable {
  /** Ending of a file that is being written to replace another. */
  static final String TEMPORARY = ".r";

  /** What a {@link Hook} is told about. */
  enum Step {
    OPEN,
    WRITE,
    FSYNC,
    RENAME,
    UNLINK,
    FSYNC_DIRECTORY
  }

  /** Called before each step that changes something; tests stop the world here. */
  interface Hook {
    void before(Step step, String name) throws KeyException;
  }

  /** Bytes to write at an offset; never compared. */
  @SuppressWarnings("ArrayRecordComponent")
  record Patch(long offset, byte[] bytes) {}

  private final Path directory;
  private final int directoryFd;
  private final int uid;
  private final int gid;
  private final Hook hook;
  private final AtomicLong fsyncs = new AtomicLong();

  DurableFiles(Path directory, Hook hook) throws KeyException {
    this.directory = directory;
    this.hook = hook;
    int fd = Posix.open(ByteString.of(directory), Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    if (fd < 0) {
      throw KeyException.io(Kind.IO, "cannot open key directory " + directory, fd);
    }
    Stat stat = new Stat();
    int r = Posix.fstat(fd, stat);
    if (r < 0) {
      Posix.close(fd);
      throw KeyException.io(Kind.IO, "cannot read key directory " + directory, r);
    }
    directoryFd = fd;
    uid = stat.uid;
    gid = stat.gid;
  }

  Path path(String name) {
    return directory.resolve(name);
  }

  /** The number of fsync calls, of files and of the directory, since the directory was opened. */
  long fsyncs() {
    return fsyncs.get();
  }

  /** The names in the directory, without {@code .} and {@code ..}. */
  List<String> names() throws KeyException {
    // a descriptor of its own, since the position of a directory is shared by those who read it
    int fd = Posix.openat(directoryFd, ".", Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    check(Kind.IO, fd, "cannot open key directory", "");
    try (Arena arena = Arena.ofConfined()) {
      List<String> names = new ArrayList<>();
      long buffer = arena.allocate(32768, 8).address();
      int n;
      while ((n = Posix.getdents(fd, buffer, 32768)) > 0) {
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name
        for (long p = buffer; p < buffer + n; p += Memory.getShort(p + 16)) {
          int length = Memory.stringLength(p + 19, 256);
          String name = Memory.getString(p + 19, length);
          if (!name.equals(".") && !name.equals("..")) {
            names.add(name);
          }
        }
      }
      check(Kind.IO, n, "cannot list key directory", "");
      return names;
    } finally {
      Posix.close(fd);
    }
  }

  /** The whole content, or null if there is no such file. */
  byte @Nullable [] read(String name) throws KeyException {
    int fd =
        Posix.openat(directoryFd, name, Posix.O_RDONLY | Posix.O_NOFOLLOW | Posix.O_NONBLOCK, 0);
    if (fd == -Errno.ENOENT) {
      return null;
    }
    check(Kind.IO, fd, "cannot open", name);
    try (Arena arena = Arena.ofConfined()) {
      Stat stat = new Stat();
      check(Kind.IO, Posix.fstat(fd, stat), "cannot read", name);
      if (!stat.isRegular() || stat.size > Integer.MAX_VALUE - 16) {
        throw new KeyException(
            Kind.CORRUPTED,
            "key directory entry \"" + path(name) + "\" is no regular file of fitting size",
            "restore the key directory from a backup");
      }
      long address = arena.allocate(Math.max(1, stat.size), 8).address();
      long n = Posix.pread(fd, address, stat.size, 0);
      check(Kind.IO, (int) n, "cannot read", name);
      byte[] content = new byte[(int) n];
      Memory.copyOut(address, content, 0, content.length);
      return content;
    } finally {
      Posix.close(fd);
    }
  }

  /**
   * Replaces or creates a file: temporary file, fsync, rename, fsync of the directory. At any crash
   * the name has the old content or the new.
   *
   * @throws KeyException of kind SYNC_FAILED if the directory could not be synced after the rename;
   *     of any other kind if nothing has changed
   */
  void replace(String name, byte[] content) throws KeyException {
    String temporary = name + TEMPORARY;
    try {
      write(
          temporary,
          Posix.O_WRONLY | Posix.O_CREAT | Posix.O_TRUNC | Posix.O_NOFOLLOW,
          List.of(new Patch(0, content)));
      hook.before(Step.RENAME, name);
      check(
          Kind.IO,
          Posix.renameat(directoryFd, temporary, directoryFd, name, 0),
          "cannot rename " + temporary + " to",
          name);
    } catch (KeyException e) {
      Posix.unlinkat(directoryFd, temporary, 0);
      // the name still has its old content, whichever call failed
      throw e.kind() == Kind.SYNC_FAILED
          ? new KeyException(Kind.IO, e.primary(), null, null, "the file is unchanged", e)
          : e;
    }
    syncDirectory();
  }

  /**
   * Writes into an existing file, one fsync for all.
   *
   * @throws KeyException of kind SYNC_FAILED if the fsync failed: the content on disk is not known
   */
  void update(String name, List<Patch> patches) throws KeyException {
    write(name, Posix.O_WRONLY | Posix.O_NOFOLLOW, patches);
  }

  private void write(String name, int flags, List<Patch> patches) throws KeyException {
    hook.before(Step.OPEN, name);
    int fd = Posix.openat(directoryFd, name, flags, 0600);
    check(Kind.IO, fd, "cannot open", name);
    try {
      if ((flags & Posix.O_CREAT) != 0 && Posix.geteuid() != uid) {
        check(Kind.IO, Posix.fchown(fd, uid, gid), "cannot set the owner of", name);
      }
      for (Patch patch : patches) {
        hook.before(Step.WRITE, name);
        try (Arena arena = Arena.ofConfined()) {
          int size = patch.bytes.length;
          long address = arena.allocate(Math.max(1, size), 8).address();
          Memory.copyIn(patch.bytes, 0, address, size);
          long n = Posix.pwrite(fd, address, size, patch.offset);
          check(Kind.IO, (int) Math.min(n, 0), "cannot write", name);
        }
      }
      hook.before(Step.FSYNC, name);
      fsyncs.incrementAndGet();
      check(Kind.SYNC_FAILED, Posix.fsync(fd), "cannot fsync", name);
    } finally {
      Posix.close(fd);
    }
  }

  /** Removes those of the files that exist, then syncs the directory. */
  void remove(List<String> names) throws KeyException {
    boolean removed = false;
    for (String name : names) {
      hook.before(Step.UNLINK, name);
      int r = Posix.unlinkat(directoryFd, name, 0);
      if (r != -Errno.ENOENT) {
        check(Kind.IO, r, "cannot remove", name);
        removed = true;
      }
    }
    if (removed) {
      syncDirectory();
    }
  }

  void syncDirectory() throws KeyException {
    hook.before(Step.FSYNC_DIRECTORY, "");
    fsyncs.incrementAndGet();
    check(Kind.SYNC_FAILED, Posix.fsync(directoryFd), "cannot fsync key directory", "");
  }

  private void check(Kind kind, int result, String what, String name) throws KeyException {
    if (result < 0) {
      throw KeyException.io(kind, what + " " + path(name), result);
    }
  }

  @Override
  public void close() {
    Posix.close(directoryFd);
  }
}
