package io.pgveil.datadir;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An inode of the backing file system that the kernel or we know.
 *
 * <p>Locking: names, {@link #lookups}, {@link #dead} and {@link #open} are changed under the node's
 * monitor. Names are read without it: an unlink may come between two looks, so each look takes one
 * immutable list. The view's tree lock keeps a path right while it is used.
 */
final class Node {
  /** One name of the node. */
  record Name(Node parent, String name) {}

  final long id;

  /** Backing device and inode; they change when the content is transcoded to a new file. */
  volatile Identity identity;

  record Identity(long dev, long ino) {}

  /** For directories: what they are to PostgreSQL. */
  volatile @Nullable Place place;

  /** Usually one name, more for hard links, none when unlinked. The first gives the path. */
  private volatile List<Name> names = List.of();

  long lookups;
  boolean dead;
  volatile @Nullable OpenFile open;

  Node(long id, Identity identity, @Nullable Place place) {
    this.id = id;
    this.identity = identity;
    this.place = place;
  }

  @Nullable Name name() {
    List<Name> now = names;
    return now.isEmpty() ? null : now.getFirst();
  }

  boolean isUnlinked() {
    return names.isEmpty();
  }

  /**
   * Adds a name, unless it is known. A file that is open outlives the node of its directory, which
   * the kernel may forget and look up again: names in the same directory by its old node are this
   * one or would never be removed.
   */
  void addName(Node parent, String name) {
    List<Name> more = new ArrayList<>(names);
    more.removeIf(n -> n.parent() != parent && n.parent().identity.equals(parent.identity));
    for (Name n : more) {
      if (n.parent() == parent && n.name().equals(name)) {
        return;
      }
    }
    more.add(new Name(parent, name));
    names = List.copyOf(more);
  }

  void removeName(Node parent, String name) {
    List<Name> fewer = new ArrayList<>(names);
    fewer.removeIf(n -> n.parent() == parent && n.name().equals(name));
    names = List.copyOf(fewer);
  }

  void clearNames() {
    names = List.of();
  }

  /** Path from the view's root; null when unlinked. The caller holds the tree lock. */
  @Nullable String path() {
    StringBuilder b = new StringBuilder(64);
    return appendPath(b) ? b.toString() : null;
  }

  /** Path of {@code child} in this directory. The caller holds the tree lock. */
  @Nullable String path(String child) {
    StringBuilder b = new StringBuilder(64);
    if (!appendPath(b)) {
      return null;
    }
    if (!b.isEmpty()) {
      b.append('/');
    }
    return b.append(child).toString();
  }

  private boolean appendPath(StringBuilder b) {
    if (id == io.pgveil.fuse.FileSystem.ROOT) {
      return true;
    }
    Name n = name();
    if (n == null) {
      return false;
    }
    if (!n.parent().appendPath(b)) {
      return false;
    }
    if (!b.isEmpty()) {
      b.append('/');
    }
    b.append(n.name());
    return true;
  }

  /** The directory's place; throws if this is no directory. */
  Place directoryPlace() {
    Place p = place;
    if (p == null) {
      throw new IllegalStateException("node " + id + " is no directory");
    }
    return p;
  }
}
