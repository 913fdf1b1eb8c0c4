package io.pgveil.datadir.check;

import io.pgveil.datadir.DataDirectory;
import io.pgveil.datadir.Place;
import io.pgveil.datadir.RelationFile;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;

/**
 * Walks a cipher directory. Symbolic links are followed only where a tablespace is that is served
 * too.
 */
final class Tree {
  /**
   * A regular file.
   *
   * @param object path from the root of the data directory
   * @param place of the directory that it is in
   */
  record Entry(Path path, String object, Place place, String name, long size) {}

  /** What a walk meets. */
  interface Visitor {
    void file(Entry entry);

    /** Something that is not looked at. */
    void skipped(String object, Place place, String name, String why);

    void unreadable(String object, Exception e);
  }

  private final Path root;
  private final List<DataDirectory.Tablespace> tablespaces;

  Tree(Path root, List<DataDirectory.Tablespace> tablespaces) {
    this.root = root;
    this.tablespaces = tablespaces;
  }

  void walk(Visitor visitor) {
    directory(root, "", Place.DATA_DIRECTORY, visitor);
  }

  private void directory(Path directory, String prefix, Place place, Visitor visitor) {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
      for (Path path : entries) {
        String name = path.getFileName().toString();
        try {
          entry(path, prefix + name, name, place, visitor);
        } catch (IOException e) {
          visitor.unreadable(prefix + name, e);
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      visitor.unreadable(prefix.isEmpty() ? "." : prefix, e);
    }
  }

  private void entry(Path path, String object, String name, Place place, Visitor visitor)
      throws IOException {
    BasicFileAttributes a =
        Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    if (a.isRegularFile()) {
      visitor.file(new Entry(path, object, place, name, a.size()));
    } else if (a.isDirectory()) {
      directory(path, object + "/", place.directory(name), visitor);
    } else if (a.isSymbolicLink()) {
      link(path, object, name, place, visitor);
    }
    // sockets hold nothing
  }

  private void link(Path path, String object, String name, Place place, Visitor visitor)
      throws IOException {
    Path target = path.resolveSibling(Files.readSymbolicLink(path)).normalize();
    if (place.role() == Place.Role.TABLESPACES && RelationFile.parseOid(name) != 0) {
      for (DataDirectory.Tablespace t : tablespaces) {
        if (isSame(target, t.mountPoint()) || isSame(target, t.cipherDirectory())) {
          directory(t.cipherDirectory(), object + "/", place.directory(name), visitor);
          return;
        }
      }
    }
    visitor.skipped(object, place, name, "it is a symbolic link to " + target);
  }

  private static boolean isSame(Path a, Path b) {
    return a.toAbsolutePath().normalize().equals(b.toAbsolutePath().normalize());
  }
}
