package io.pgveil.fuse;

import org.junit.jupiter.api.extension.ExtendWith;

/** Every operation, over io_uring. */
@ExtendWith(IoUringOffer.class)
class RingMountTest extends MountTest {
  @Override
  boolean overIoUring() {
    return true;
  }
}
