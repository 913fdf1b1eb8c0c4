package io.pgveil.tests.support;

import io.pgveil.datadir.Backing;
import io.pgveil.datadir.DataDirectory;
import io.pgveil.fuse.FuseSession;
import io.pgveil.fuse.MountOptions;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.linux.Posix;
import java.util.List;

/**
 * Serves a cluster in this process, over a file system that the test can make fail. The test must
 * not touch the mount itself; the server and other children may.
 */
public final class DaemonHere implements AutoCloseable {
  private final KeyDirectory keys;
  private final DataDirectory data;
  private final FuseSession session;

  /** The cluster has no other daemon. */
  public DaemonHere(TestCluster cluster, Backing backing) throws Exception {
    CipherType cipher = CipherType.AES_128;
    keys =
        KeyDirectory.open(
            cluster.cipher().resolve(DataDirectory.KEY_DIRECTORY),
            new KeyDirectory.Settings(List.of(), cipher));
    data =
        DataDirectory.open(
            cluster.cipher(),
            keys,
            new DataDirectory.Options(
                cluster.mountPoint(), cipher, null, List.of(), false, backing));
    session =
        FuseSession.mount(
            data.fileSystem(),
            MountOptions.at(cluster.mountPoint()).allowOther(Posix.geteuid() == 0).build());
    session.start();
  }

  @Override
  public void close() throws Exception {
    try {
      session.unmount();
    } catch (Exception e) {
      session.abort();
      throw e;
    } finally {
      session.await();
      data.close();
      keys.close();
    }
  }
}
