package io.pgveil.datadir;

import io.pgveil.linux.Memory;
import io.pgveil.linux.Stat;

/** Memory that one thread needs for one request; never holds anything between two requests. */
final class Scratch {
  /** Clear or cipher bytes handled at a time; a multiple of the 8-KiB page. */
  static final int CHUNK = 256 * 1024;

  private static final int SIZE = CHUNK + 2 * 8192;

  private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);

  /** For system calls: {@link #CHUNK} and two pages. */
  final long io = Memory.allocate(SIZE, 4096);

  /** For ciphers, as large as {@link #io}. */
  final byte[] bytes = new byte[SIZE];

  /** A second buffer for ciphers that cannot work in place. */
  final byte[] page = new byte[8192];

  final Stat stat = new Stat();
  final Stat stat2 = new Stat();

  private Scratch() {}

  static Scratch get() {
    return CURRENT.get();
  }
}
