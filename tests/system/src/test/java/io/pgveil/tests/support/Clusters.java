package io.pgveil.tests.support;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.app.postgres.PostgresBinaries;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The clusters of one test. Whatever the test does, none outlives it; what a failed test leaves in
 * the logs is printed.
 */
public final class Clusters implements BeforeEachCallback, AfterEachCallback {
  private final List<TestCluster> clusters = new ArrayList<>();

  /** A new cluster below {@code root}: mounted, but with nothing in it yet. */
  public TestCluster mounted(Path root, PostgresBinaries binaries, int keyBits) throws Exception {
    TestCluster cluster = new TestCluster(root, binaries, keyBits);
    clusters.add(cluster);
    cluster.create();
    cluster.mount();
    return cluster;
  }

  /** A new cluster below {@code root}, mounted, with an initialised and running server. */
  public TestCluster running(
      Path root, PostgresBinaries binaries, int keyBits, String... initdbOptions) throws Exception {
    TestCluster cluster = mounted(root, binaries, keyBits);
    cluster.initdb(initdbOptions);
    cluster.start();
    return cluster;
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    assumeTrue(Files.isWritable(Path.of("/dev/fuse")), "/dev/fuse is missing or not writable");
  }

  @Override
  public void afterEach(ExtensionContext context) throws Exception {
    boolean failed = context.getExecutionException().isPresent();
    List<String> left = new ArrayList<>();
    for (TestCluster cluster : clusters.reversed()) {
      if (failed) {
        System.err.println(cluster.logs());
      }
      left.addAll(cluster.discard());
    }
    clusters.clear();
    if (!failed && !left.isEmpty()) {
      throw new AssertionError("left behind by a test that has passed: " + left);
    }
  }
}
