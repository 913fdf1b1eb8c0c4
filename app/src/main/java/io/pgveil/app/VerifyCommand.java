package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.Storage;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Offline check. */
@Command(
    name = "verify",
    description = {
      "Check a stopped cluster: every key entry unwraps, every page has its checksum, every WAL page"
          + " its header, every key its file and every file its key.",
      "Changes nothing. Ends with code 70 if it finds something."
    })
final class VerifyCommand extends PgveilCommand {
  @Mixin ClusterOption cluster = new ClusterOption();

  @Override
  ExitCode run() throws CommandException {
    Path cipher = CipherDirectory.require(cluster.cipherDirectory(), "cannot verify");
    ProgressBar bar = new ProgressBar(err());
    List<Storage.Finding> findings;
    try (ClusterLock lock = ClusterLock.acquire(cipher, "verify")) {
      findings = storage().verify(cipher, bar);
    } finally {
      bar.clear();
    }
    for (Storage.Finding f : findings) {
      out().println(f.object() + ": " + f.problem());
    }
    out()
        .println(
            findings.isEmpty()
                ? "nothing found in " + cipher
                : findings.size() + " findings in " + cipher);
    out().flush();
    return findings.isEmpty() ? ExitCode.OK : ExitCode.FINDINGS;
  }
}
