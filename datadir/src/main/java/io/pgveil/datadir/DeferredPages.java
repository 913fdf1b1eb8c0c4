package io.pgveil.datadir;

import io.pgveil.linux.Memory;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Encrypted pages of one file that wait in memory until its key is durable. Like pages in the
 * kernel's cache they are no promise: a sync writes them first.
 *
 * <p>Guarded by the file's content lock: exclusive to change, shared to read.
 */
final class DeferredPages {
  private static final int PAGE = RelationContent.PAGE;

  /** Bytes that all files together may keep waiting. */
  static final class Budget {
    private final long limit;
    private final Runnable whenFull;
    private final AtomicLong used = new AtomicLong();
    private final AtomicBoolean told = new AtomicBoolean();

    /**
     * @param whenFull is told when there is no room, once until half of it is free again; it may
     *     not write pages itself, for the caller has a file locked
     */
    Budget(long limit, Runnable whenFull) {
      this.limit = limit;
      this.whenFull = whenFull;
    }

    private boolean take(int bytes) {
      if (used.addAndGet(bytes) <= limit) {
        return true;
      }
      giveBack(bytes);
      if (told.compareAndSet(false, true)) {
        whenFull.run();
      }
      return false;
    }

    private void giveBack(int bytes) {
      if (used.addAndGet(-bytes) < limit / 2) {
        told.set(false);
      }
    }
  }

  private final Budget budget;
  private final TreeMap<Long, byte[]> pages = new TreeMap<>();
  private volatile boolean any;

  DeferredPages(Budget budget) {
    this.budget = budget;
  }

  boolean isEmpty() {
    return !any;
  }

  /** Takes {@code length} cipher bytes from {@code start}, a page border; false: no room. */
  boolean add(long start, byte[] cipher, int length) {
    if (!budget.take(length)) {
      return false;
    }
    for (int p = 0; p < length; p += PAGE) {
      int n = Math.min(PAGE, length - p);
      byte[] page = new byte[n];
      System.arraycopy(cipher, p, page, 0, n);
      byte[] old = pages.put(start + p, page);
      if (old != null) {
        budget.giveBack(old.length);
      }
    }
    any = true;
    return true;
  }

  /** Puts waiting pages over what was read from [offset, offset + count) to {@code address}. */
  void overlay(long address, int count, long offset) {
    for (Map.Entry<Long, byte[]> e : pages.subMap(offset, offset + count).entrySet()) {
      int at = (int) (e.getKey() - offset);
      Memory.copyIn(e.getValue(), 0, address + at, Math.min(e.getValue().length, count - at));
    }
  }

  /** Writes all, ascending; 0 or -errno. Pages that could not be written stay. */
  int writeTo(Backing backing, int fd, long buffer) {
    while (!pages.isEmpty()) {
      Map.Entry<Long, byte[]> e = pages.firstEntry();
      long start = e.getKey();
      int length = 0;
      int count = 0;
      for (Map.Entry<Long, byte[]> next : pages.entrySet()) {
        byte[] page = next.getValue();
        if (next.getKey() != start + length || length + page.length > Scratch.CHUNK) {
          break;
        }
        Memory.copyIn(page, 0, buffer + length, page.length);
        length += page.length;
        count++;
      }
      long w = backing.pwrite(fd, buffer, length, start);
      if (w < 0) {
        return (int) w;
      }
      for (int i = 0; i < count; i++) {
        pages.pollFirstEntry();
      }
      budget.giveBack(length);
    }
    any = false;
    return 0;
  }

  void clear() {
    for (byte[] page : pages.values()) {
      budget.giveBack(page.length);
    }
    pages.clear();
    any = false;
  }
}
