package io.pgveil.fuse;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pgveil.linux.IoUring;
import io.pgveil.linux.LinuxException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Lets the kernel offer io_uring to the connections of a test class, and skips the class where it
 * cannot or must not: the switch is one of the whole system, for root.
 */
final class IoUringOffer implements BeforeAllCallback, AfterAllCallback {
  private static final Path SWITCH = Path.of("/sys/module/fuse/parameters/enable_uring");

  private @Nullable String before;

  @Override
  public void beforeAll(ExtensionContext context) throws IOException {
    assumeTrue(Files.exists(SWITCH), "this kernel has no FUSE over io_uring (Linux 6.14)");
    try {
      IoUring.create().close();
    } catch (LinuxException e) {
      assumeTrue(false, "no io_uring for this process: " + e.getMessage());
    }
    String now = Files.readString(SWITCH).strip();
    if (!now.equals("Y")) {
      assumeTrue(Files.isWritable(SWITCH), SWITCH + " is off and needs root to be turned on");
      Files.writeString(SWITCH, "Y");
      before = now;
    }
  }

  @Override
  public void afterAll(ExtensionContext context) throws IOException {
    if (before != null) {
      Files.writeString(SWITCH, before);
    }
  }
}
