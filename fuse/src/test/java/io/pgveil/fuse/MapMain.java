package io.pgveil.fuse;

import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Maps a file shared, checks and changes it. Not in the serving process: a page fault there stops
 * the machine that should serve it.
 */
final class MapMain {
  private MapMain() {}

  public static void main(String[] args) throws Exception {
    try (FileChannel channel =
        FileChannel.open(Path.of(args[0]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, channel.size());
      for (int i = 0; i < map.capacity(); i++) {
        if (map.get(i) != (byte) i) {
          throw new AssertionError("byte " + i + " is " + map.get(i));
        }
        map.put(i, (byte) (i + 1));
      }
      map.force();
    }
    System.out.println("MAPPED");
  }
}
