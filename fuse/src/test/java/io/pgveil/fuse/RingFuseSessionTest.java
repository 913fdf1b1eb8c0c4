package io.pgveil.fuse;

import org.junit.jupiter.api.extension.ExtendWith;

/** Mounting, unmounting and what can be in the way, over io_uring. */
@ExtendWith(IoUringOffer.class)
class RingFuseSessionTest extends FuseSessionTest {
  @Override
  boolean overIoUring() {
    return true;
  }
}
