package io.pgveil.app.control;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Lines of UTF-8 that end with a newline, of limited length. */
final class LineReader {
  private final ReadableByteChannel channel;
  private final int maxSize;
  private final ByteBuffer buffer = ByteBuffer.allocate(4096).flip();

  LineReader(ReadableByteChannel channel, int maxSize) {
    this.channel = channel;
    this.maxSize = maxSize;
  }

  /** The next line without its newline; null at the end, also if the last line is not complete. */
  @Nullable String next() throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    while (true) {
      while (buffer.hasRemaining()) {
        byte b = buffer.get();
        if (b == '\n') {
          return line.toString(StandardCharsets.UTF_8);
        }
        if (line.size() == maxSize) {
          throw new IOException("a line is longer than " + maxSize + " bytes");
        }
        line.write(b);
      }
      buffer.clear();
      int n = channel.read(buffer);
      buffer.flip();
      if (n < 0) {
        return null;
      }
    }
  }
}
