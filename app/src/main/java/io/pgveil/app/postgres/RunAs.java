package io.pgveil.app.postgres;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The operating-system user that PostgreSQL runs as. PostgreSQL refuses to run as root, so root
 * changes to another user with {@code setpriv} (util-linux), which executes the program in its own
 * process: signals and exit codes need no forwarding.
 *
 * @param name the user's name
 * @param uid user id
 * @param gid id of the user's own group
 * @param change whether this process is root and has to change
 */
public record RunAs(String name, int uid, int gid, boolean change) {
  private static final List<String> DEFAULTS = List.of("postgres", "nobody");

  /** Whether setpriv can let the kernel end PostgreSQL when we die; it can since 2.33. */
  private static final class DeathSignal {
    static final boolean SUPPORTED = probe();

    private static boolean probe() {
      try {
        return Child.run(List.of("setpriv", "--help")).output().contains("--pdeathsig");
      } catch (IOException e) {
        return false;
      }
    }
  }

  /**
   * The user named, or the first of {@code postgres} and {@code nobody} that exists; the calling
   * user when that is not root.
   */
  public static RunAs resolve(@Nullable String requested) throws CommandException {
    if (Posix.geteuid() != 0) {
      RunAs self = self();
      if (requested != null && !requested.equals(self.name)) {
        throw new CommandException(
            ExitCode.NO_PERMISSION,
            "cannot run PostgreSQL as another user",
            requested,
            "only root can, this is " + self.name);
      }
      return self;
    }
    for (String name : requested == null ? DEFAULTS : List.of(requested)) {
      Optional<RunAs> found = lookUp(name);
      if (found.isPresent()) {
        return found.get();
      }
    }
    throw new CommandException(
        ExitCode.RUN_AS_UNSUITABLE,
        "cannot run PostgreSQL as another user",
        requested == null ? String.join(" or ", DEFAULTS) : requested,
        "no such user");
  }

  private static RunAs self() {
    return new RunAs(
        System.getProperty("user.name", "uid " + Posix.geteuid()),
        Posix.geteuid(),
        Posix.getegid(),
        false);
  }

  private static Optional<RunAs> lookUp(String name) throws CommandException {
    String[] entry;
    try {
      Child.Result result = Child.run(List.of("getent", "passwd", "--", name));
      entry = result.output().strip().split(":", -1);
      if (result.exitCode() != 0 || entry.length < 4) {
        return Optional.empty();
      }
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.HELPER_MISSING, "cannot look up a user", "getent", "program not found")
          .causedBy(e);
    }
    int uid = Integer.parseInt(entry[2]);
    if (uid == 0) {
      throw new CommandException(
          ExitCode.RUN_AS_UNSUITABLE,
          "cannot run PostgreSQL as another user",
          name,
          "PostgreSQL refuses to run as root");
    }
    return Optional.of(new RunAs(entry[0], uid, Integer.parseInt(entry[3]), true));
  }

  /** {@code program} as this user. */
  public List<String> command(List<String> program) {
    return command(program, false);
  }

  /**
   * {@code program} as this user; it gets SIGQUIT when the <em>thread</em> that starts it ends,
   * where setpriv can ask for that.
   */
  List<String> commandThatDiesWithUs(List<String> program) {
    return command(program, true);
  }

  private List<String> command(List<String> program, boolean die) {
    boolean signal = die && DeathSignal.SUPPORTED;
    if (!change && !signal) {
      return program;
    }
    List<String> all = new ArrayList<>();
    all.add("setpriv");
    if (change) {
      all.addAll(List.of("--reuid", "" + uid, "--regid", "" + gid, "--init-groups"));
    }
    if (signal) {
      all.addAll(List.of("--pdeathsig", "QUIT"));
    }
    all.add("--");
    all.addAll(program);
    return all;
  }

  /** Gives {@code path} to this user. Only for paths in directories that this process owns. */
  public void own(Path path) throws IOException {
    if (change) {
      Files.setAttribute(path, "unix:uid", uid, LinkOption.NOFOLLOW_LINKS);
      Files.setAttribute(path, "unix:gid", gid, LinkOption.NOFOLLOW_LINKS);
    }
  }

  /** Refuses a directory that this user cannot reach, as below {@code /root}. */
  public void requireReachable(Path directory) throws CommandException {
    if (!change) {
      return;
    }
    try {
      if (Child.run(command(List.of("test", "-x", directory.toString()))).exitCode() == 0) {
        return;
      }
    } catch (IOException e) {
      throw helperMissing(e);
    }
    throw new CommandException(
        ExitCode.NO_PERMISSION,
        "cannot run PostgreSQL below %s: %s: user %s cannot enter this directory or one above it"
            .formatted(directory.getParent(), directory, name),
        "choose a directory that "
            + name
            + " can reach, for example below /var/lib, or another user with --run-as");
  }

  static CommandException helperMissing(IOException e) {
    return new CommandException(
            ExitCode.HELPER_MISSING,
            "cannot run PostgreSQL as another user: setpriv: " + e.getMessage(),
            "install the package util-linux")
        .causedBy(e);
  }
}
