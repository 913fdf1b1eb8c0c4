package io.pgveil.fuse;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Path;

/** A mount for one test, removed whatever the test did. */
final class MountFixture implements AutoCloseable {
  final FuseSession session;
  final Path root;

  MountFixture(FileSystem fileSystem, MountOptions options) throws MountException {
    assumeDevice();
    root = options.mountPoint();
    session = FuseSession.mount(fileSystem, options);
    session.start();
  }

  /** Skips the test where FUSE cannot be used at all. */
  static void assumeDevice() {
    int fd = Posix.open("/dev/fuse", Posix.O_RDWR, 0);
    assumeTrue(fd >= 0, () -> "/dev/fuse cannot be opened: " + Errno.describe(fd));
    Posix.close(fd);
  }

  @Override
  public void close() throws Exception {
    try {
      session.unmount();
    } catch (MountException e) {
      session.abort();
      throw e;
    } finally {
      session.await();
    }
  }
}
