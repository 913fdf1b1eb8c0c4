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

  @Option(names = "--list-clear", description = "List every file that is not encrypted.")
  boolean listClear;

  @Option(names = "--json", description = "Print JSON.")
  boolean json;

  @Override
  ExitCode run() throws CommandException {
    Path directory = cluster.cipherDirectory();
    boolean foreign = CipherDirectory.kind(directory) == CipherDirectory.Kind.PG_TDE;
    Path cipher = CipherDirectory.requireKeys(directory, "cannot verify");
    ProgressBar bar = new ProgressBar(err());
    Report report;
    // a cluster of pg_tde is left exactly as it is, without a lock file of ours
    try (ClusterLock lock = foreign ? null : ClusterLock.acquire(cipher, "verify")) {
      report = storage().verify(cipher, bar);
    } finally {
      bar.clear();
    }
    if (json) {
      Json.print(out(), report);
    } else {
      print(cipher, report);
    }
    out().flush();
    return report.isClean() ? ExitCode.OK : ExitCode.FINDINGS;
  }

  private void print(Path cipher, Report report) {
    for (Finding f : report.findings()) {
      boolean note = f.severity() == Finding.Severity.NOTE;
      out().println((note ? "note: " : "") + f.object() + ": " + f.what());
      if (!f.remedy().isEmpty()) {
        out().println("  remedy: " + f.remedy());
      }
    }
    if (report.leftOut() > 0) {
      out().println("... and " + report.leftOut() + " more findings");
    }
    for (Count c : Count.values()) {
      if (report.count(c) > 0) {
        out().printf("%15d %s%n", report.count(c), c.text());
      }
    }
    if (report.mode() == Report.Mode.PG_TDE) {
      out()
          .printf(
              "This is a cluster of pg_tde: %d relation files are clear%s%n",
              report.clearFiles().size(), listClear ? ":" : " (--list-clear names them).");
      if (listClear) {
        report.clearFiles().forEach(f -> out().println("  " + f));
      }
    }
    long findings =
        report.leftOut()
            + report.findings().stream()
                .filter(f -> f.severity() == Finding.Severity.FINDING)
                .count();
    out()
        .println(
            findings == 0 ? "nothing found in " + cipher : findings + " findings in " + cipher);
  }
}
