package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.cluster.ClusterLock;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.datadir.check.Count;
import io.pgveil.datadir.check.Finding;
import io.pgveil.datadir.check.Report;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

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

  @Option(names = "--json", description = "Print JSON.")
  boolean json;

  @Override
  ExitCode run() throws CommandException {
    Path directory = cluster.cipherDirectory();
    Report report =
        CipherDirectory.kind(directory) == CipherDirectory.Kind.PG_TDE
            ? verify(directory) // not ours: it gets no lock file
            : verifyLocked(CipherDirectory.require(directory, "cannot verify"));
    if (json) {
      Json.print(out(), report);
    } else {
      print(report, directory);
    }
    out().flush();
    return report.isClean() ? ExitCode.OK : ExitCode.FINDINGS;
  }

  private Report verifyLocked(Path cipher) throws CommandException {
    try (ClusterLock lock = ClusterLock.acquire(cipher, "verify")) {
      return verify(cipher);
    }
  }

  private Report verify(Path cipher) throws CommandException {
    ProgressBar bar = new ProgressBar(err());
    try {
      return storage().verify(cipher, bar);
    } finally {
      bar.clear();
    }
  }

  private void print(Report report, Path directory) {
    for (Finding f : report.findings()) {
      out()
          .printf(
              "%s%s: %s%s%n",
              f.severity() == Finding.Severity.NOTE ? "note: " : "",
              f.object(),
              f.what(),
              f.remedy().isEmpty() ? "" : "; " + f.remedy());
    }
    report.clearFiles().forEach(f -> out().println("clear: " + f));
    for (Count count : Count.values()) {
      if (report.count(count) > 0) {
        out().printf("%,15d %s%n", report.count(count), count.text());
      }
    }
    long found =
        report.leftOut()
            + report.findings().stream()
                .filter(f -> f.severity() == Finding.Severity.FINDING)
                .count();
    out().println((found == 0 ? "nothing found" : found + " findings") + " in " + directory);
  }
}
