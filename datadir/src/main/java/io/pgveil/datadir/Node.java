package io.pgveil.datadir;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An inode of the backing file system that the kernel or we know.
 *
 * <p>Locking: names, {@link #place} and identity are guarded by the view's tree lock; {@link
 * #lookups}, {@link #dead} and {@link #open} by the node's monitor.
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
  private final List<Name> names = new ArrayList<>(1);

  long lookups;
  boolean dead;
  volatile @Nullable OpenFile open;

  Node(long id, Identity identity, @Nullable Place place) {
    this.id = id;
    this.identity = identity;
    this.place = place;
  }

  @Nullable Name name() {
    return names.isEmpty() ? null : names.get(0);
  }

  boolean isUnlinked() {
    return names.isEmpty();
  }

  void addName(Node parent, String name) {
    for (Name n : names) {
      if (n.parent() == parent && n.name().equals(name)) {
        return;
      }
    }
    names.add(new Name(parent, name));
  }

  void removeName(Node parent, String name) {
    names.removeIf(n -> n.parent() == parent && n.name().equals(name));
  }

  void clearNames() {
    names.clear();
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
    if (names.isEmpty()) {
      return false;
    }
    Name n = names.get(0);
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
