package io.pgveil.datadir;

import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.Set;

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
    Node victim = null;
    synchronized (this) {
      idle.add(node);
      if (idle.size() > limit) {
        Iterator<Node> it = idle.iterator();
        victim = it.next();
        it.remove();
      }
    }
    if (victim != null && !closer.closeIdle(victim)) {
      synchronized (this) {
        idle.add(victim);
      }
    }
  }

  synchronized void remove(Node node) {
    idle.remove(node);
  }

  /** Closes all; called when no request can come any more. */
  void closeAll() {
    Set<Node> all;
    synchronized (this) {
      all = Set.copyOf(idle);
      idle.clear();
    }
    all.forEach(closer::closeIdle);
  }
}
