package io.pgveil.keys;

import io.pgveil.linux.ByteString;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Follows symbolic links step by step without ever touching what lies below given directories. */
final class PathResolver {
  /** As many as Linux follows. */
  private static final int MAX_LINKS = 40;

  private final List<Path> forbidden;

  /** The roots are taken as they are and with their own links resolved, where they have any. */
  PathResolver(List<Path> forbiddenRoots) {
    List<Path> given =
        forbiddenRoots.stream().map(p -> p.toAbsolutePath().normalize()).distinct().toList();
    List<Path> all = new ArrayList<>(given);
    for (Path root : given) {
      // resolving stops before the root itself, which may be a dead mount
      Path parent = root.getParent();
      Path name = root.getFileName();
      if (parent != null && name != null) {
        walk(parent, List.of()).map(p -> p.resolve(name)).ifPresent(all::add);
      }
    }
    forbidden = List.copyOf(all);
  }

  /** The path without symbolic links and dots; empty if it leads below a forbidden root. */
  Optional<Path> resolve(Path path) {
    return walk(path.toAbsolutePath(), forbidden);
  }

  private static Optional<Path> walk(Path path, List<Path> forbidden) {
    Deque<Path> todo = new ArrayDeque<>();
    path.forEach(todo::add);
    Path at = Path.of("/");
    int links = 0;
    while (!todo.isEmpty()) {
      String step = todo.remove().toString();
      if (step.isEmpty() || step.equals(".")) {
        continue;
      }
      if (step.equals("..")) {
        Path parent = at.getParent();
        at = parent == null ? at : parent;
        continue;
      }
      Path next = at.resolve(step);
      if (forbidden.stream().anyMatch(next::startsWith)) {
        return Optional.empty();
      }
      String target = readLink(next);
      if (target == null || ++links > MAX_LINKS) {
        at = next;
        continue;
      }
      Path link = Path.of(target);
      if (link.isAbsolute()) {
        at = Path.of("/");
      }
      List<Path> steps = new ArrayList<>();
      link.forEach(steps::add);
      steps.reversed().forEach(todo::addFirst);
    }
    return Optional.of(at);
  }

  private static @Nullable String readLink(Path path) {
    try (Arena arena = Arena.ofConfined()) {
      long buffer = arena.allocate(4096).address();
      long n = Posix.readlinkat(Posix.AT_FDCWD, ByteString.of(path), buffer, 4096);
      return n < 0 ? null : ByteString.toText(Memory.getString(buffer, (int) n));
    }
  }
}
