package io.pgveil.fuse;

/** Takes requests of the connection and answers them, one after the other, on one thread. */
sealed interface Worker permits DeviceWorker, RingWorker {
  /** Serves until the connection ends. */
  void run(FileSystem fileSystem);

  OperationCounters counters();

  /** Frees the buffers; {@link #run} must have returned or never been called. */
  void close();
}
