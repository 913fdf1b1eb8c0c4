package io.pgveil.tests.support;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.postgres.EmbeddedPostgres;
import io.pgveil.app.postgres.PostgresBinaries;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.tests.Project;
import java.nio.file.Path;

/** The PostgreSQL servers that the build has fetched. */
public final class Postgres {
  private Postgres() {}

  /** The binaries of a major version; it is a failure if they are missing. */
  public static PostgresBinaries major(int major) throws CommandException {
    Path target = Project.root().resolve("tests/system/target");
    Path jar =
        EmbeddedPostgres.find(target.resolve("postgres"), major)
            .orElseThrow(
                () -> new AssertionError("no jar of PostgreSQL " + major + " in " + target));
    Path cache = target.resolve("postgres-unpacked");
    try {
      RunAs.resolve(null).requireReachable(target);
    } catch (CommandException e) {
      // a work tree below /root: the server's user cannot execute anything there
      cache = Path.of("/var/cache/pgveil/postgres");
    }
    return EmbeddedPostgres.install(jar, cache);
  }
}
