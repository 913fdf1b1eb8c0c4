package io.pgveil.datadir;

import java.util.Iterator;
import java.util.LinkedHashSet;
import org.jspecify.annotations.Nullable;

/**
 * Files that nobody has open any more but whose descriptor we keep: a bounded number, the oldest
 * goes first. A file with unsynced writes is synced before its descriptor goes, and keeps it if
 * that fails, so that the error reaches whoever syncs later. Many of them are kept: PostgreSQL
 * closes what it made by the hundred and syncs it at the next checkpoint.
 */
final class IdleFiles {
  /** Closes one idle node unless it is in use again or must be kept. */
  interface Closer {
    /** Returns false if the node must stay. */
    boolean closeIdle(Node node);
  }

  /** Idle nodes in the order in which they became it. */
  private static final class Line {
    final LinkedHashSet<Node> nodes = new LinkedHashSet<>();
    final int limit;

    Line(int limit) {
      this.limit = limit;
    }

    @Nullable Node takeOldestTooMany() {
      if (nodes.size() <= limit) {
        return null;
      }
      Iterator<Node> it = nodes.iterator();
      Node oldest = it.next();
      it.remove();
      return oldest;
    }
  }

  private final Closer closer;

  // guarded by this
  private final Line clean;
  private final Line written;

  IdleFiles(int limit, int writtenLimit, Closer closer) {
    this.clean = new Line(limit);
    this.written = new Line(writtenLimit);
    this.closer = closer;
  }

  /**
   * @param unsynced whether something was written to the node since its last sync
   */
  void add(Node node, boolean unsynced) {
    Line line = unsynced ? written : clean;
    synchronized (this) {
      line.nodes.add(node);
    }
    // two at most, or files that must stay would let the set grow for ever
    for (int i = 0; i < 2; i++) {
      Node victim;
      synchronized (this) {
        victim = line.takeOldestTooMany();
      }
      if (victim == null) {
        return;
      }
      if (!closer.closeIdle(victim)) {
        synchronized (this) {
          line.nodes.add(victim);
        }
      }
    }
  }

  synchronized void remove(Node node) {
    clean.nodes.remove(node);
    written.nodes.remove(node);
  }
}
