package io.pgveil.datadir;

import io.pgveil.fuse.FileSystem;
import io.pgveil.linux.Errno;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * The open state of a regular file: one backing descriptor and one content for all who have it
 * open. It outlives the last close for a while (see {@link IdleFiles}), so that a sync finds the
 * descriptor that wrote (hazard 11).
 */
final class OpenFile {
  final int fd;
  final FileKind kind;
  final @Nullable RelationFile relation;
  final Content content;

  /** Content lock: shared for reads, exclusive for every change. */
  final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();

  /** Open file descriptions and calls in progress. Guarded by the node's monitor. */
  int users;

  /** Descriptors of the files that this one replaced, closed with it. */
  private List<Integer> retired = List.of();

  /**
   * Set under the exclusive content lock when a transcoded file took this one's place, or when it
   * was closed.
   */
  boolean replaced;

  /** Something was written since the last successful sync began. */
  volatile boolean dirty;

  /**
   * Something is lost, or may be: every sync fails, until the file is emptied or removed. Not set
   * for what waits in memory for room on the disk.
   */
  volatile int syncError;

  /**
   * Why a write that its caller takes for done found no room: see {@link #lost}. Of its cache the
   * kernel tells who syncs too, but not if it has dropped the inode.
   */
  volatile int lostError;

  /**
   * A write was answered and goes on, under the exclusive content lock. Set before the answer, so
   * that every sync that may expect this write sees it.
   */
  private volatile boolean answeredInAdvance;

  OpenFile(int fd, FileKind kind, @Nullable RelationFile relation, Content content) {
    this.fd = fd;
    this.kind = kind;
    this.relation = relation;
    this.content = content;
  }

  /** This one takes the place of {@code old}, whose descriptor a sync may still be using. */
  void retire(OpenFile old) {
    List<Integer> all = new ArrayList<>(old.retired);
    all.add(old.fd);
    retired = all;
  }

  /** This one goes on with the descriptors of {@code old}. */
  void takeRetired(OpenFile old) {
    retired = old.retired;
  }

  void closeRetired(Backing backing) {
    retired.forEach(backing::close);
    retired = List.of();
  }

  /**
   * Writes what waits in memory. Where there is no room it goes on waiting, and whoever syncs tries
   * again: it fails for all of them while the disk is full, and is right to succeed afterwards. Any
   * other failure is kept.
   */
  int flush() {
    if (!content.hasDeferred()) {
      return 0;
    }
    lock.writeLock().lock();
    try {
      int r = replaced ? 0 : content.flush();
      if (r < 0 && !waitsForRoom(r)) {
        syncError = r;
      }
      return r;
    } finally {
      lock.writeLock().unlock();
    }
  }

  /**
   * A write that its caller takes for done was refused: one from the kernel's cache, or one that
   * was answered in advance. Where there was no room one sync is told, for PostgreSQL writes
   * everything again from its WAL then; any other error stays.
   */
  void lost(int error) {
    if (DataDirectoryException.isFull(error)) {
      lostError = error;
    } else {
      syncError = error;
    }
  }

  private boolean waitsForRoom(int error) {
    return DataDirectoryException.isFull(error) && content.hasDeferred();
  }

  /**
   * Writes, and answers when the write has its place in the order of all WAL writes: a failure is
   * then kept for whoever syncs. Exclusive content lock.
   */
  int write(long offset, int size, long address, FileSystem.EarlyAnswer early) {
    int r = -Errno.EIO;
    try {
      r =
          content.write(
              offset,
              size,
              address,
              () -> {
                dirty = true;
                answeredInAdvance = true;
                early.give();
              });
      return r;
    } finally {
      if (answeredInAdvance) {
        if (r < 0) {
          lost(r);
        }
        answeredInAdvance = false;
      }
    }
  }

  /**
   * Syncs the backing file; 0 or -errno. Takes the content lock only to wait for a write that was
   * answered and is not done: writers go on meanwhile.
   */
  int sync(boolean dataOnly) {
    if (answeredInAdvance) {
      lock.readLock().lock();
      try {
        // the write is done
      } finally {
        lock.readLock().unlock();
      }
    }
    if (syncError != 0) {
      return syncError;
    }
    int lost = lostError;
    if (lost != 0) {
      lostError = 0;
      return lost;
    }
    dirty = false;
    int r = flush();
    if (r < 0) {
      dirty = true;
      return r;
    }
    r = content.beforeSync();
    if (r >= 0) {
      r = dataOnly ? content.backing.fdatasync(fd) : content.backing.fsync(fd);
    }
    if (r < 0) {
      syncError = r;
      dirty = true;
      return r;
    }
    return 0;
  }
}
