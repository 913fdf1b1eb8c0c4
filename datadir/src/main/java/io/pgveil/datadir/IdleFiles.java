package io.pgveil.datadir;

import java.util.Iterator;
import java.util.LinkedHashSet;
import org.jspecify.annotations.Nullable;

/**
 * Files that nobody has open any more but whose descriptor we keep: a bounded number, the oldest
 * goes first. A file with unsynced writes is synced before its descriptor goes, and keeps it if
 * that fails, so that the error reaches whoever syncs later.
 */
final class IdleFiles {
  /** Closes one idle node unless it is in use again or must be kept. */
  interface Closer {
    /** Returns false if the node must stay. */
    boolean closeIdle(Node node);
  }

  private final int limit;
  private final Closer closer;
  private final LinkedHashSet<Node> idle = new LinkedHashSet<>(); // guarded by this

  IdleFiles(int limit, Closer closer) {
    this.limit = limit;
    this.closer = closer;
  }

  void add(Node node) {
    synchronized (this) {
      idle.add(node);
    }
    // two at most, or files that must stay would let the set grow for ever
    for (int i = 0; i < 2; i++) {
      Node victim = oldestTooMany();
      if (victim == null) {
        return;
      }
      if (!closer.closeIdle(victim)) {
        synchronized (this) {
          idle.add(victim);
        }
      }
    }
  }

  private synchronized @Nullable Node oldestTooMany() {
    if (idle.size() <= limit) {
      return null;
    }
    Iterator<Node> it = idle.iterator();
    Node oldest = it.next();
    it.remove();
    return oldest;
  }

  synchronized void remove(Node node) {
    idle.remove(node);
  }
}
