package io.pgveil.fuse;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A file system in memory that writes down whatever changes it, and every sync, before it answers.
 * {@code bench/powercut} lets the daemon keep its cipher directory here and rebuilds from the
 * recording what a power cut could have left.
 *
 * <p>A record: operation (1 byte, ASCII), four numbers (8 bytes each, big-endian), length of what
 * follows (4 bytes), then that. The size of the recording is the time: whoever has been answered
 * finds it behind the records of what was asked. The operations and their numbers are with the
 * methods below; owners are {@code uid << 32 | gid}, names are ISO-8859-1, two of them parted by
 * '/'.
 *
 * <p>All files are open for direct I/O, and there is no write-back cache: a write of the daemon is
 * recorded when it is made. syncfs(2) does not reach a FUSE server, so it is not recorded.
 */
final class RecordedFileSystem extends MemoryFileSystem {
  private static final int HEADER = 1 + 4 * 8 + 4;
  private static final int MAX_WRITE = 1 << 20;
  private static final int O_DSYNC = 0x1000;

  private final FileChannel recording;
  private final byte[] data = new byte[MAX_WRITE];
  private final ByteBuffer buffer = ByteBuffer.allocateDirect(HEADER + MAX_WRITE);

  RecordedFileSystem(FileChannel recording) {
    this.recording = recording;
    directPrefix = "";
  }

  /** Mounts and serves until unmounted. Arguments: mount point, recording (a new file). */
  public static void main(String[] arguments) throws Exception {
    try (FileChannel recording =
        FileChannel.open(
            Path.of(arguments[1]), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      MountOptions options =
          MountOptions.at(Path.of(arguments[0]))
              .fsName("pgveil-recorded")
              .allowOther(Posix.geteuid() == 0)
              .writebackCache(false)
              .ioUring(false)
              .threads(4)
              .maxWrite(MAX_WRITE)
              .build();
      FuseSession session = FuseSession.mount(new RecordedFileSystem(recording), options);
      session.start();
      System.out.println("recording");
      session.await();
    }
  }

  private void record(char operation, long a, long b, long c, long d, byte[] bytes, int length) {
    buffer.clear().put((byte) operation).putLong(a).putLong(b).putLong(c).putLong(d).putInt(length);
    buffer.put(bytes, 0, length).flip();
    try {
      int size = buffer.remaining();
      // one write: nobody sees half a record
      if (recording.write(buffer) != size) {
        throw new EOFException("the recording is cut off");
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void record(char operation, long a, long b, long c, long d, String names) {
    byte[] bytes = names.getBytes(StandardCharsets.ISO_8859_1);
    record(operation, a, b, c, d, bytes, bytes.length);
  }

  private void record(char operation, long a, long b, long c, long d) {
    record(operation, a, b, c, d, "");
  }

  private static long owner(Attributes a) {
    return (long) a.uid << 32 | (a.gid & 0xffffffffL);
  }

  /** C (file) and D (directory): parent, node, mode, owner; name. */
  private void recordNew(char operation, long parent, String name, Entry made) {
    record(operation, parent, made.node, made.attributes.mode, owner(made.attributes), name);
  }

  @Override
  public synchronized int create(
      Caller caller,
      long parent,
      String name,
      int mode,
      int flags,
      Entry entry,
      OpenResult opened) {
    Entry before = new Entry();
    super.lookup(parent, name, before);
    int r = super.create(caller, parent, name, mode, flags, entry, opened);
    if (before.node != 0) {
      super.forget(before.node, 1);
      if (r == 0 && (flags & Posix.O_TRUNC) != 0) {
        record('T', entry.node, 0, 0, 0);
      }
    } else if (r == 0) {
      recordNew('C', parent, name, entry);
    }
    return r;
  }

  @Override
  public synchronized int mknod(
      Caller caller, long parent, String name, int mode, int rdev, Entry out) {
    int r = super.mknod(caller, parent, name, mode, rdev, out);
    if (r == 0) {
      recordNew('C', parent, name, out);
    }
    return r;
  }

  @Override
  public synchronized int mkdir(Caller caller, long parent, String name, int mode, Entry out) {
    int r = super.mkdir(caller, parent, name, mode, out);
    if (r == 0) {
      recordNew('D', parent, name, out);
    }
    return r;
  }

  /** A cipher directory has none; nothing would rebuild them. */
  @Override
  public synchronized int symlink(
      Caller caller, long parent, String name, String target, Entry out) {
    return -Errno.EPERM;
  }

  /** U: parent; name. */
  @Override
  public synchronized int unlink(long parent, String name) {
    int r = super.unlink(parent, name);
    if (r == 0) {
      record('U', parent, 0, 0, 0, name);
    }
    return r;
  }

  /** R: parent; name. */
  @Override
  public synchronized int rmdir(long parent, String name) {
    int r = super.rmdir(parent, name);
    if (r == 0) {
      record('R', parent, 0, 0, 0, name);
    }
    return r;
  }

  /** N: old parent, new parent, flags; old and new name. */
  @Override
  public synchronized int rename(
      long parent, String name, long newParent, String newName, int flags) {
    int r = super.rename(parent, name, newParent, newName, flags);
    if (r == 0) {
      record('N', parent, newParent, flags, 0, name + '/' + newName);
    }
    return r;
  }

  /** L: node, parent; name. */
  @Override
  public synchronized int link(long node, long newParent, String newName, Entry out) {
    int r = super.link(node, newParent, newName, out);
    if (r == 0) {
      record('L', node, newParent, 0, 0, newName);
    }
    return r;
  }

  /** T: node, size. M: node, mode, owner. Times are not recorded: nothing reads them. */
  @Override
  public synchronized int setattr(long node, long handle, SetAttributes in, Attributes out) {
    int r = super.setattr(node, handle, in, out);
    if (r == 0 && (in.valid & SetAttributes.SIZE) != 0) {
      record('T', node, in.size, 0, 0);
    }
    if (r == 0 && (in.valid & (SetAttributes.MODE | SetAttributes.UID | SetAttributes.GID)) != 0) {
      record('M', node, out.mode, owner(out), 0);
    }
    return r;
  }

  /** W: node, offset; data. */
  @Override
  public synchronized int write(
      long node,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address) {
    int r = super.write(node, handle, offset, size, openFlags, fromCache, address);
    if (r > 0) {
      Memory.copyOut(address, data, 0, r);
      record('W', node, offset, 0, 0, data, r);
      if ((openFlags & O_DSYNC) != 0) {
        record('Y', node, 1, 0, 0);
      }
    }
    return r;
  }

  /** F: node, offset, size, mode of fallocate(2). */
  @Override
  public synchronized int fallocate(long node, long handle, int mode, long offset, long size) {
    int r = super.fallocate(node, handle, mode, offset, size);
    if (r == 0) {
      record('F', node, offset, size, mode);
    }
    return r;
  }

  /** Y: node, 1 for fdatasync(2). */
  @Override
  public synchronized int fsync(long node, long handle, boolean dataOnly) {
    record('Y', node, dataOnly ? 1 : 0, 0, 0);
    return super.fsync(node, handle, dataOnly);
  }

  /** Z: node. */
  @Override
  public synchronized int fsyncdir(long node, long handle, boolean dataOnly) {
    record('Z', node, 0, 0, 0);
    return super.fsyncdir(node, handle, dataOnly);
  }
}
