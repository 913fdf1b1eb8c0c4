package io.pgveil.fuse;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Serves a file system in memory at the directory that is the argument; says READY or the kind of
 * failure, unmounts at the end of its input.
 */
final class ServeMain {
  private ServeMain() {}

  public static void main(String[] args) throws Exception {
    Path root = Path.of(args[0]);
    MountOptions.Builder options = MountOptions.at(root).threads(4).fsName("a,b\\c d");
    options.allowOther(args.length > 1 && args[1].equals("allowOther"));
    FuseSession session;
    try {
      session = FuseSession.mount(new MemoryFileSystem(), options.build());
    } catch (MountException e) {
      System.out.println(e.kind() + " " + e.getMessage());
      return;
    }
    session.start();
    Files.writeString(root.resolve("file"), "served");
    System.out.println("READY " + Files.readString(root.resolve("file")));
    try (BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      while (in.readLine() != null) {}
    }
    session.unmount();
    session.await();
    System.out.println("ENDED");
  }
}
