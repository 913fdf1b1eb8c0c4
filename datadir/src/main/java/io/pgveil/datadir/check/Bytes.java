package io.pgveil.datadir.check;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Little-endian numbers in byte arrays, and reading files into them. */
final class Bytes {
  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private Bytes() {}

  static int getShort(byte[] b, int at) {
    return (short) SHORT.get(b, at) & 0xffff;
  }

  static int getInt(byte[] b, int at) {
    return (int) INT.get(b, at);
  }

  static long getLong(byte[] b, int at) {
    return (long) LONG.get(b, at);
  }

  static boolean isZero(byte[] b, int at, int n) {
    for (int i = at; i < at + n; i++) {
      if (b[i] != 0) {
        return false;
      }
    }
    return true;
  }

  static FileChannel open(Path file) throws IOException {
    return FileChannel.open(file, StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS);
  }

  /** Reads to {@code b[0, n)} from {@code offset} on; fewer bytes only at the end of the file. */
  static int read(FileChannel file, long offset, byte[] b, int n) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(b, 0, n);
    while (buffer.hasRemaining()) {
      if (file.read(buffer, offset + buffer.position()) < 0) {
        break;
      }
    }
    return buffer.position();
  }
}
