package io.pgveil.fuse;

import static org.junit.jupiter.api.Assumptions.abort;

import io.pgveil.fuse.MountException.Kind;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;

/** A mount for one test, removed whatever the test did. */
final class MountFixture implements AutoCloseable {
  private static final Set<Kind> IMPOSSIBLE =
      EnumSet.of(Kind.NO_DEVICE, Kind.NO_PERMISSION, Kind.FUSERMOUNT_MISSING);

  final FuseSession session;
  final Path root;

  MountFixture(FileSystem fileSystem, MountOptions options) throws MountException {
    root = options.mountPoint();
    session = mount(fileSystem, options);
    session.start();
  }

  /** Mounts, or skips the test where this process cannot mount at all. */
  private static FuseSession mount(FileSystem fileSystem, MountOptions options)
      throws MountException {
    try {
      return FuseSession.mount(fileSystem, options);
    } catch (MountException e) {
      if (IMPOSSIBLE.contains(e.kind())) {
        abort(e.getMessage());
      }
      throw e;
    }
  }

  /** Skips the test where this process cannot mount at all. */
  static void assumeMountable(Path mountPoint) throws MountException {
    mount(new MemoryFileSystem(), MountOptions.at(mountPoint).threads(1).build()).abort();
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
