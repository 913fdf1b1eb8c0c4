package io.pgveil.datadir;

import io.pgveil.linux.Memory;
import java.util.Map;
import java.util.TreeMap;
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
    private final AtomicLong used = new AtomicLong();

    Budget(long limit) {
      this.limit = limit;
    }

    boolean isUsed() {
      return used.get() > 0;
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
    if (budget.used.addAndGet(length) > budget.limit) {
      budget.used.addAndGet(-length);
      return false;
    }
    for (int p = 0; p < length; p += PAGE) {
      int n = Math.min(PAGE, length - p);
      byte[] page = new byte[n];
      System.arraycopy(cipher, p, page, 0, n);
      byte[] old = pages.put(start + p, page);
      if (old != null) {
        budget.used.addAndGet(-old.length);
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
      budget.used.addAndGet(-length);
    }
    any = false;
    return 0;
  }

  void clear() {
    for (byte[] page : pages.values()) {
      budget.used.addAndGet(-page.length);
    }
    pages.clear();
    any = false;
  }
}
