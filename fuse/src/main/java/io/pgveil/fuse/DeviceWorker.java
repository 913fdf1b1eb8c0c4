package io.pgveil.fuse;

import io.pgveil.fuse.FileSystem.SessionInfo;
import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads requests from a descriptor of the connection and writes the replies to it.
 *
 * <p>The data of a WRITE and that of a READ lie at page boundaries: requests are read at 80 bytes
 * (header and structure) before one, replies are built with their header before another.
 */
final class DeviceWorker implements Worker {
  private static final Logger LOG = LoggerFactory.getLogger(DeviceWorker.class);

  private static final int REQUEST_HEADERS = Protocol.IN_HEADER_SIZE + Protocol.WRITE_IN_SIZE;

  private final OperationCounters counters = new OperationCounters();

  private final int device;
  private final int maxWrite;
  private final long memory;
  private final long memorySize;
  private final long in;
  private final int inSize;
  private final long out;

  DeviceWorker(int device, int maxWrite) throws MountException {
    this.device = device;
    this.maxWrite = maxWrite;
    // A page that ends with the request's headers, its data, a page because the kernel insists on
    // room for 8192 bytes, a page that ends with the reply's header, its data.
    memorySize = 3L * Protocol.PAGE + 2L * maxWrite;
    memory = Posix.mmapAnonymous(memorySize);
    if (memory < 0) {
      throw new MountException(
          Kind.OTHER, "No memory for the buffers of a worker: " + Errno.describe((int) memory));
    }
    // File contents do not belong in a core dump; where the kernel refuses, other means remain.
    Posix.madvise(memory, memorySize, Posix.MADV_DONTDUMP);
    in = memory + Protocol.PAGE - REQUEST_HEADERS;
    inSize = REQUEST_HEADERS + maxWrite + Protocol.PAGE;
    out = memory + 3L * Protocol.PAGE + maxWrite;
  }

  /** Answers INIT, the first request of a connection. */
  SessionInfo handshake(MountOptions options, boolean rings) throws MountException {
    while (true) {
      long size = Posix.read(device, in, inSize);
      if (size == -Errno.EINTR || size == -Errno.EAGAIN) {
        continue;
      }
      if (size < 0) {
        throw new MountException(
            Kind.OTHER, "Reading INIT from /dev/fuse failed: " + Errno.describe((int) size));
      }
      long reply = out - Protocol.OUT_HEADER_SIZE;
      @Nullable SessionInfo info = Handshake.answer(in, (int) size, options, rings, reply);
      long sent = Posix.write(device, reply, Handshake.replySize());
      if (sent < 0) {
        throw new MountException(
            Kind.OTHER, "The kernel refused our INIT: " + Errno.describe((int) sent));
      }
      if (info != null) {
        return info;
      }
    }
  }

  @Override
  public void run(FileSystem fileSystem) {
    // Memory reclaim on this thread must not wait for write-back that only we can do (hazard:
    // deadlock when memory is short). Needs CAP_SYS_RESOURCE; without it the hazard remains.
    Posix.prctl(Posix.PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    RequestDispatcher dispatcher =
        new RequestDispatcher(
            fileSystem, this::send, counters, out, out - Protocol.OUT_HEADER_SIZE, maxWrite);
    while (true) {
      long size = Posix.read(device, in, inSize);
      if (size > 0) {
        dispatcher.dispatch(in, (int) size);
        continue;
      }
      switch ((int) -size) {
        // ENOENT: the request was taken back while it was copied.
        case Errno.EINTR, Errno.EAGAIN, Errno.ENOENT -> {}
        case Errno.ENODEV -> {
          return;
        }
        default -> {
          LOG.error("A worker stops: reading /dev/fuse gave {}", Errno.describe((int) size));
          return;
        }
      }
    }
  }

  private long send(long address, int size) {
    long sent = Posix.write(device, address, size);
    // ENOENT: nobody waits any more (the answer to INTERRUPT, an aborted connection).
    if (sent < 0 && sent != -Errno.ENOENT && sent != -Errno.ENODEV) {
      LOG.error("The kernel refused a reply of {} bytes: {}", size, Errno.describe((int) sent));
    }
    return sent;
  }

  @Override
  public OperationCounters counters() {
    return counters;
  }

  @Override
  public void close() {
    Posix.munmap(memory, memorySize);
  }
}
