package io.pgveil.ciphers;

/** Prints the throughput of each cipher on this machine. */
final class CipherBench {
  private static final int SIZE = 128 * 1024;

  private CipherBench() {}

  public static void main(String[] args) {
    byte[] in = Testing.random(1, SIZE);
    byte[] out = new byte[SIZE];
    try (PageCipher page = new PageCipher(new byte[16], new byte[16]);
        WalCipher wal = new WalCipher(new byte[16], new byte[16]);
        SealedCipher sealed = SealedCipherTest.cipher()) {
      WalCodec codec = new WalCodec(wal);
      run("page encrypt 8 KiB", 8192, () -> page.encrypt(in, 0, 0, 1, out, 0));
      run("page decrypt 8 KiB", 8192, () -> page.decrypt(in, 0, 0, 1, out, 0));
      run("page decrypt in place", 8192, () -> page.decrypt(in, 0, 0, 1, in, 0));
      run("WAL apply 128 KiB", SIZE, () -> wal.apply(1, 1, 0, out, 0, SIZE));
      run("WAL encode 128 KiB", SIZE, () -> codec.encode(1, 1, 0, in, 0, SIZE, SIZE, out, 0));
      run("WAL decode 128 KiB", SIZE, () -> codec.decode(1, 1, 0, in, 0, SIZE, out, 0));
      run("sealed encrypt 512 B", 512, () -> sealed.encrypt(1, in, 0, 1, out, 0));
      run("sealed encrypt 8 KiB", 8192, () -> sealed.encrypt(1, in, 0, 16, out, 0));
      run("sealed encrypt 128 KiB", SIZE, () -> sealed.encrypt(1, in, 0, 256, out, 0));
      run("sealed decrypt 128 KiB", SIZE, () -> sealed.decrypt(1, in, 0, 256, out, 0));
    }
  }

  private static void run(String name, int bytes, Runnable call) {
    long calls = Math.max(1, 200_000_000L / bytes);
    long best = Long.MAX_VALUE;
    for (int round = 0; round < 5; round++) {
      long start = System.nanoTime();
      for (long i = 0; i < calls; i++) {
        call.run();
      }
      best = Math.min(best, System.nanoTime() - start);
    }
    System.out.printf(
        "%-24s %8.2f us %8.2f GB/s%n", name, best / 1e3 / calls, (double) bytes * calls / best);
  }
}
