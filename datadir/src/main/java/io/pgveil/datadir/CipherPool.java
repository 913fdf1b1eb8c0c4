package io.pgveil.datadir;

import java.util.ArrayDeque;
import java.util.function.Supplier;

/**
 * Ciphers of one key, lent to one thread at a time: a javax.crypto cipher is not thread-safe and
 * its key schedule is worth keeping.
 */
final class CipherPool<C extends AutoCloseable> {
  private final Supplier<C> maker;
  private final Runnable onClose;
  private final ArrayDeque<C> idle = new ArrayDeque<>(4); // guarded by this
  private boolean closed; // guarded by this

  /**
   * @param maker makes one more cipher
   * @param onClose clears what the maker holds
   */
  CipherPool(Supplier<C> maker, Runnable onClose) {
    this.maker = maker;
    this.onClose = onClose;
  }

  C take() {
    synchronized (this) {
      if (closed) {
        // the maker's key is cleared: a cipher made now would encrypt under zeros
        throw new IllegalStateException("the file is closed");
      }
      C c = idle.pollLast();
      return c != null ? c : maker.get();
    }
  }

  void giveBack(C cipher) {
    synchronized (this) {
      if (!closed) {
        idle.addLast(cipher);
        return;
      }
    }
    close(cipher);
  }

  /** Clears the idle ciphers; those still lent are cleared when they come back. */
  synchronized void close() {
    closed = true;
    onClose.run();
    idle.forEach(CipherPool::close);
    idle.clear();
  }

  private static void close(AutoCloseable cipher) {
    try {
      cipher.close();
    } catch (Exception e) {
      throw new IllegalStateException("a cipher does not fail to close", e);
    }
  }
}
