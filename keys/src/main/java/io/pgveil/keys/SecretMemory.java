package io.pgveil.keys;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Memory for a few hundred keys, off the Java heap: page-aligned, kept out of core dumps and forked
 * children, locked in memory where the process may. Freed slots are cleared at once.
 */
final class SecretMemory implements AutoCloseable {
  /** Longest secret in bytes. */
  static final int MAX_SIZE = 32;

  /** A multiple of every page size of Linux on x86-64 and aarch64. */
  private static final int REGION_SIZE = 65536;

  private static final Logger LOG = LoggerFactory.getLogger(SecretMemory.class);

  /** All fields are guarded by this object's monitor. */
  private final List<Long> regions = new ArrayList<>();

  private final ArrayDeque<Long> free = new ArrayDeque<>();
  private boolean closed;
  private boolean warned;

  /** One secret. {@link #close} clears it; the memory's own close clears all. */
  final class Secret implements AutoCloseable {
    private final int size;
    private long address;

    private Secret(long address, int size) {
      this.address = address;
      this.size = size;
    }

    /** Length in bytes. */
    int size() {
      return size;
    }

    /** A copy, which the caller clears. */
    byte[] copy() {
      synchronized (SecretMemory.this) {
        if (closed || address == 0) {
          throw new IllegalStateException("the key was cleared");
        }
        byte[] bytes = new byte[size];
        Memory.copyOut(address, bytes, 0, size);
        return bytes;
      }
    }

    @Override
    public void close() {
      synchronized (SecretMemory.this) {
        if (!closed && address != 0) {
          Memory.fill(address, MAX_SIZE, 0);
          free.add(address);
        }
        address = 0;
      }
    }

    @Override
    public String toString() {
      return "Secret[" + size + " bytes]";
    }
  }

  /** Stores a copy of {@code bytes}, at most {@value #MAX_SIZE}; the caller clears its own. */
  synchronized Secret store(byte[] bytes) {
    if (closed) {
      throw new IllegalStateException("closed");
    }
    if (bytes.length > MAX_SIZE) {
      throw new IllegalArgumentException("a secret has at most " + MAX_SIZE + " bytes");
    }
    if (free.isEmpty()) {
      addRegion();
    }
    long address = free.remove();
    Memory.copyIn(bytes, 0, address, bytes.length);
    return new Secret(address, bytes.length);
  }

  private void addRegion() {
    long address = Posix.mmapAnonymous(REGION_SIZE);
    if (address < 0) {
      throw new IllegalStateException(
          "no memory for keys: " + Errno.describe((int) Math.negateExact(address)));
    }
    Posix.madvise(address, REGION_SIZE, Posix.MADV_DONTDUMP);
    Posix.madvise(address, REGION_SIZE, Posix.MADV_DONTFORK);
    if (Posix.mlock(address, REGION_SIZE) < 0 && !warned) {
      warned = true;
      long soft = Posix.getrlimit(Posix.RLIMIT_MEMLOCK)[0];
      LOG.warn(
          "Principal keys are not locked in memory and may reach the swap area: RLIMIT_MEMLOCK is"
              + " {} bytes, {} are needed; raise it (ulimit -l, LimitMEMLOCK=)",
          soft,
          REGION_SIZE);
    }
    regions.add(address);
    for (int i = 0; i < REGION_SIZE; i += MAX_SIZE) {
      free.add(address + i);
    }
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    for (long address : regions) {
      Memory.fill(address, REGION_SIZE, 0);
      Posix.munmap(address, REGION_SIZE);
    }
  }
}
