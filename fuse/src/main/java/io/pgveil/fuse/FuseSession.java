package io.pgveil.fuse;

import io.pgveil.fuse.FileSystem.SessionInfo;
import io.pgveil.fuse.MountException.Kind;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A mounted file system and the threads that serve it.
 *
 * <p>Life: {@link #mount}, {@link #start}, then until somebody unmounts (this class, umount(8)) or
 * the connection is aborted; {@link #await} returns after the last request is finished.
 *
 * <p>The process that serves a mount must not use it itself, directly or through a library: an
 * access waits for a worker that may be the one that made it. For the same reason {@link #unmount},
 * {@link #abort} and {@link #await} must not be called from a {@link FileSystem} method.
 */
public final class FuseSession {
  private static final Logger LOG = LoggerFactory.getLogger(FuseSession.class);
  private static final int NAME_MAX = 1024;

  private final FileSystem fileSystem;
  private final Mounts.Mount mount;
  private final Path mountPoint;
  private final SessionInfo info;
  private final List<Worker> workers;
  private final AtomicInteger running = new AtomicInteger();
  private final CountDownLatch ended = new CountDownLatch(1);

  /** Guards {@link #started} and orders start against an end before it. */
  private final Object lifecycle = new Object();

  private boolean started;

  /** Guards {@link #notice} and keeps {@link #devices} open while a notification is sent. */
  private final Object notifying = new Object();

  private final List<Integer> devices;

  /** A page to build notifications in; 0 after the end, or negative if there was no memory. */
  private long notice;

  private FuseSession(
      FileSystem fileSystem,
      Mounts.Mount mount,
      Path mountPoint,
      SessionInfo info,
      List<Worker> workers,
      List<Integer> devices) {
    this.fileSystem = fileSystem;
    this.mount = mount;
    this.mountPoint = mountPoint;
    this.info = info;
    this.workers = workers;
    this.devices = devices;
    this.notice = Posix.mmapAnonymous(Protocol.PAGE);
  }

  /**
   * Mounts: as root by mount(2), otherwise through fusermount3. Whoever uses the mount waits until
   * {@link #start}.
   *
   * @throws MountException naming object, reason and remedy; nothing is mounted then
   */
  public static FuseSession mount(FileSystem fileSystem, MountOptions options)
      throws MountException {
    List<Integer> devices = new ArrayList<>();
    List<Worker> workers = new ArrayList<>();
    devices.add(Mounter.mount(options));
    Mounts.@Nullable Mount mount = null;
    try {
      mount = Mounts.find(options.mountPoint()).orElseThrow();
      DeviceWorker first = new DeviceWorker(devices.getFirst(), options.maxWrite());
      workers.add(first);
      List<RingWorker> rings = Rings.prepare(devices.getFirst(), options);
      workers.addAll(rings);
      SessionInfo info = first.handshake(options, !rings.isEmpty());
      tuneDevice(mount, options);
      if (!info.ioUring()) {
        rings.forEach(Worker::close);
        workers.removeAll(rings);
        while (workers.size() < options.threads()) {
          workers.add(new DeviceWorker(cloneDevice(devices), options.maxWrite()));
        }
      }
      LOG.debug("Mounted {} as {}: {}", options.mountPoint(), mount.device(), info);
      return new FuseSession(fileSystem, mount, options.mountPoint(), info, workers, devices);
    } catch (IOException | RuntimeException e) {
      workers.forEach(Worker::close);
      devices.forEach(Posix::close);
      if (mount != null) {
        try {
          Mounter.abortAndDetach(mount);
        } catch (MountException suppressed) {
          e.addSuppressed(suppressed);
        }
      }
      throw e instanceof MountException m
          ? m
          : new MountException(
              Kind.OTHER, "The new mount at " + options.mountPoint() + " was not found: " + e);
    }
  }

  /**
   * Another descriptor of the connection with a queue of its own for requests being processed, so
   * that workers do not wait for each other's lock; the first one where that cannot be had.
   */
  private static int cloneDevice(List<Integer> devices) {
    int first = devices.getFirst();
    int fd;
    try {
      fd = Mounter.openDevice();
    } catch (MountException e) {
      return first;
    }
    long argument = Posix.mmapAnonymous(Protocol.PAGE);
    Memory.putInt(argument, first);
    int result = Posix.ioctl(fd, Protocol.IOCTL_CLONE, argument);
    Posix.munmap(argument, Protocol.PAGE);
    if (result < 0) {
      Posix.close(fd);
      return first;
    }
    devices.add(fd);
    return fd;
  }

  /** Adjusts what INIT cannot: the kernel lets root raise it through files of the device. */
  private static void tuneDevice(Mounts.Mount mount, MountOptions options) {
    Path device = Path.of("/sys/class/bdi", mount.device());
    tune(device.resolve("read_ahead_kb"), options.readAheadKib());
    tune(device.resolve("max_ratio"), options.maxDirtyPercent());
  }

  private static void tune(Path file, int value) {
    try {
      if (Files.isWritable(file)) {
        Files.writeString(file, Integer.toString(value));
      }
    } catch (IOException e) {
      LOG.debug("{} stays as the kernel has it: {}", file, e.toString());
    }
  }

  /** What was agreed with the kernel. */
  public SessionInfo info() {
    return info;
  }

  /** The mount as the kernel lists it. */
  public Mounts.Mount mountEntry() {
    return mount;
  }

  /** Begins to serve, on threads that keep the process alive. */
  public void start() {
    synchronized (lifecycle) {
      if (started || ended.getCount() == 0) {
        throw new IllegalStateException("A session is started once");
      }
      fileSystem.kernel(this::invalidateEntry);
      fileSystem.started(info);
      started = true;
      running.set(workers.size());
      for (int i = 0; i < workers.size(); i++) {
        Worker worker = workers.get(i);
        try {
          Thread.ofPlatform().name("fuse-" + i).daemon(false).start(() -> serve(worker));
        } catch (OutOfMemoryError e) {
          // The limit of processes: fewer workers are slower, not wrong.
          LOG.warn("Only {} of {} workers could be started", i, workers.size(), e);
          if (running.addAndGet(i - workers.size()) == 0) {
            finish();
            throw e;
          }
          break;
        }
      }
    }
  }

  private void serve(Worker worker) {
    try {
      worker.run(fileSystem);
    } finally {
      if (running.decrementAndGet() == 0) {
        finish();
      }
    }
  }

  /** No worker runs, or ever ran. */
  private void finish() {
    try {
      fileSystem.stopped();
    } catch (RuntimeException e) {
      LOG.error("The file system failed when told that its session ended", e);
    } finally {
      synchronized (notifying) {
        if (notice > 0) {
          Posix.munmap(notice, Protocol.PAGE);
        }
        notice = 0;
        // Closing the last one aborts the connection, should it still exist.
        devices.forEach(Posix::close);
      }
      workers.forEach(Worker::close);
      ended.countDown();
    }
  }

  /** Waits until the kernel has ended the session and every request is finished. */
  public void await() throws InterruptedException {
    ended.await();
  }

  /**
   * Unmounts; written data has been handed to the file system when this returns. {@link #await}
   * returns soon after, unless another mount namespace still has the mount.
   *
   * @throws MountException {@link Kind#IN_USE} if files are open; the mount lives on
   */
  public void unmount() throws MountException {
    if (isMounted()) {
      Mounter.unmount(mount);
    }
    finishUnstarted();
  }

  /**
   * Ends the session at once: waiting and later operations of its users fail, data that the kernel
   * has not written back is lost.
   */
  public void abort() throws MountException {
    if (isMounted()) {
      Mounter.abortAndDetach(mount);
    } else if (ended.getCount() != 0) {
      Mounter.abortConnection(mount);
    }
    finishUnstarted();
  }

  private void finishUnstarted() {
    synchronized (lifecycle) {
      if (!started && ended.getCount() != 0) {
        finish();
      }
    }
  }

  private boolean isMounted() throws MountException {
    Optional<Mounts.Mount> top;
    try {
      top = Mounts.find(mountPoint);
      if (top.isPresent() && !top.get().equals(mount) && Mounts.all().contains(mount)) {
        throw new MountException(
            Kind.IN_USE, mountPoint + " has another mount on top of ours; unmount that one first");
      }
    } catch (MountException e) {
      throw e;
    } catch (IOException e) {
      throw new MountException(Kind.OTHER, "The mounts cannot be listed: " + e);
    }
    return top.isPresent() && top.get().equals(mount);
  }

  /** Operations since the start, those that occurred, in the order of their numbers. */
  public List<OperationStatistics> statistics() {
    long[] counts = new long[Protocol.OPCODES];
    long[] nanos = new long[Protocol.OPCODES];
    for (Worker worker : workers) {
      worker.counters().addTo(counts, nanos);
    }
    List<OperationStatistics> result = new ArrayList<>();
    for (int i = 0; i < Protocol.OPCODES; i++) {
      String name = Protocol.name(i);
      if (counts[i] > 0 && name != null) {
        result.add(new OperationStatistics(name, counts[i], nanos[i]));
      }
    }
    return result;
  }

  /**
   * Makes the kernel forget attributes and cached pages of a node, after writing back changed ones.
   * Must not be called while a request on the same node is being handled, neither by that thread
   * nor by one it waits for: the kernel waits for that request first.
   *
   * @param offset of the first byte; negative: attributes only
   * @param size in bytes; 0: to the end
   * @return 0 or -errno; ENOENT: the kernel does not know the node
   */
  public int invalidateInode(long node, long offset, long size) {
    synchronized (notifying) {
      if (notice <= 0) {
        return -Errno.ENODEV;
      }
      long at = notice + Protocol.OUT_HEADER_SIZE;
      Memory.putLong(at, node);
      Memory.putLong(at + 8, offset);
      Memory.putLong(at + 16, size);
      return notify(Protocol.NOTIFY_INVALIDATE_INODE, 24);
    }
  }

  /**
   * Makes the kernel forget what a name leads to, a remembered absence too. Must not be called
   * while a request on {@code parent} is being handled, as for {@link #invalidateInode}.
   *
   * @return 0 or -errno; ENOENT: the kernel does not know the name
   */
  public int invalidateEntry(long parent, String name) {
    if (name.length() > NAME_MAX) {
      return -Errno.ENAMETOOLONG;
    }
    synchronized (notifying) {
      if (notice <= 0) {
        return -Errno.ENODEV;
      }
      long at = notice + Protocol.OUT_HEADER_SIZE;
      Memory.putLong(at, parent);
      Memory.putInt(at + 8, name.length());
      Memory.putInt(at + 12, 0);
      return notify(Protocol.NOTIFY_INVALIDATE_ENTRY, 16 + Memory.putString(at + 16, name));
    }
  }

  /** Sends a message that answers no request: the code takes the place of the error. */
  private int notify(int code, int size) {
    Memory.putInt(notice, Protocol.OUT_HEADER_SIZE + size);
    Memory.putInt(notice + 4, code);
    Memory.putLong(notice + 8, 0);
    long sent = Posix.write(devices.getFirst(), notice, Protocol.OUT_HEADER_SIZE + size);
    return (int) Math.min(sent, 0);
  }
}
