package io.pgveil.fuse;

import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.Errno;
import io.pgveil.linux.IoUring;
import io.pgveil.linux.LinuxException;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves the queue of one processor over io_uring: the kernel puts a request of a process into the
 * queue of the processor that the process runs on, and this thread, bound to the same processor,
 * answers it there. Neither has to wake another processor, and the answer to one request and the
 * wait for the next are one system call.
 *
 * <p>Memory is one entry of the queue. The kernel fills two areas:
 *
 * <pre>
 *   headers (288 bytes): 128  struct fuse_in_header, in a reply struct fuse_out_header
 *                        128  the fixed structure of the operation
 *                         32  flags (8), commit id (8), size of the payload (4), padding
 *   payload            : names or data of the request, payload of the reply
 * </pre>
 *
 * The dispatcher wants a request in one piece, so header and structure are copied before the
 * payload, which lies at a page boundary; a reply's payload takes the place of the request's.
 *
 * <p>Source: include/uapi/linux/fuse.h, Documentation/filesystems/fuse/fuse-io-uring.rst.
 */
final class RingWorker implements Worker, RequestDispatcher.ReplySink {
  private static final Logger LOG = LoggerFactory.getLogger(RingWorker.class);

  private static final int COMMAND_REGISTER = 1;
  private static final int COMMAND_COMMIT_AND_FETCH = 2;

  private static final int HEADERS_SIZE = 288;
  private static final int OPERATION = 128;
  private static final int ENTRY = 256;

  private final OperationCounters counters = new OperationCounters();
  private final int device;
  private final int cpu;
  private final int maxWrite;
  private final long memory;
  private final long memorySize;
  private final long headers;
  private final long vectors;
  private final long payload;
  private final IoUring ring;

  /** Whether the request at hand has been answered; FORGET would need none. */
  private boolean answered;

  private int replySize;

  /**
   * @param device a descriptor of the connection
   * @param cpu the processor whose queue is served
   * @throws MountException if there is no memory or no io_uring
   */
  RingWorker(int device, int cpu, int maxWrite) throws MountException {
    this.device = device;
    this.cpu = cpu;
    this.maxWrite = maxWrite;
    // A page for headers and their addresses, one that ends with the request's headers, the
    // payload.
    memorySize = 2L * Protocol.PAGE + Math.max(maxWrite, 2 * Protocol.PAGE);
    memory = Posix.mmapAnonymous(memorySize);
    if (memory < 0) {
      throw new MountException(
          Kind.OTHER, "No memory for the buffers of a worker: " + Errno.describe((int) memory));
    }
    try {
      ring = IoUring.create();
    } catch (LinuxException e) {
      Posix.munmap(memory, memorySize);
      throw new MountException(Kind.OTHER, "No ring for a worker: " + e);
    }
    Posix.madvise(memory, memorySize, Posix.MADV_DONTDUMP);
    headers = memory;
    vectors = memory + 512;
    payload = memory + 2L * Protocol.PAGE;
    Memory.putLong(vectors, headers);
    Memory.putLong(vectors + 8, HEADERS_SIZE);
    Memory.putLong(vectors + 16, payload);
    Memory.putLong(vectors + 24, memorySize - 2L * Protocol.PAGE);
  }

  @Override
  public void run(FileSystem fileSystem) {
    Posix.prctl(Posix.PR_SET_IO_FLUSHER, 1, 0, 0, 0); // as for DeviceWorker
    int bound = Posix.bindToCpu(cpu);
    if (bound < 0) {
      LOG.debug("The worker of processor {} is not bound to it: {}", cpu, Errno.describe(bound));
    }
    RequestDispatcher dispatcher =
        new RequestDispatcher(fileSystem, this, counters, payload, headers, maxWrite);
    int result = command(COMMAND_REGISTER, 0);
    while (result >= 0) {
      long commitId = Memory.getLong(headers + ENTRY + 8);
      int size = Memory.getInt(headers);
      int data = Memory.getInt(headers + ENTRY + 16);
      int structure = size - Protocol.IN_HEADER_SIZE - data;
      answered = false;
      if (data < 0 || structure < 0 || structure > ENTRY - OPERATION) {
        LOG.error("A request of {} bytes with a payload of {} makes no sense", size, data);
        return;
      }
      long request = payload - structure - Protocol.IN_HEADER_SIZE;
      Memory.copy(headers, request, Protocol.IN_HEADER_SIZE);
      Memory.copy(headers + OPERATION, request + Protocol.IN_HEADER_SIZE, structure);
      dispatcher.dispatch(request, size);
      if (!answered) {
        LOG.error("A request that wants no answer came over io_uring");
        return;
      }
      Memory.putInt(headers + ENTRY + 16, replySize);
      result = command(COMMAND_COMMIT_AND_FETCH, commitId);
    }
    switch (-result) {
      case Errno.ENOTCONN, Errno.ECANCELED, Errno.ENODEV -> {}
      default -> LOG.error("A worker stops: io_uring gave {}", Errno.describe(result));
    }
  }

  private int command(int command, long commitId) {
    long entry = ring.next();
    Memory.putByte(entry, IoUring.OP_URING_CMD);
    Memory.putInt(entry + 4, device);
    Memory.putInt(entry + 8, command);
    if (command == COMMAND_REGISTER) {
      Memory.putLong(entry + 16, vectors);
      Memory.putInt(entry + 24, 2);
    }
    // struct fuse_uring_cmd_req: flags, commit id, queue
    Memory.putLong(entry + 56, commitId);
    Memory.putShort(entry + 64, cpu);
    return ring.submitAndWait();
  }

  /** The reply waits in its place until the next command takes it along. */
  @Override
  public long send(long header, int size) {
    answered = true;
    replySize = size - Protocol.OUT_HEADER_SIZE;
    return size;
  }

  @Override
  public boolean leavesRequest() {
    return false; // the memory is the kernel's again with the answer, which takes the next request
  }

  @Override
  public OperationCounters counters() {
    return counters;
  }

  @Override
  public void close() {
    ring.close();
    Posix.munmap(memory, memorySize);
  }
}
