package io.pgveil.app;

import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** State of a cluster. */
@Command(
    name = "status",
    description =
        "Show whether a cluster is mounted, the principal key and provider of each scope, the number"
            + " of internal keys and of WAL ranges, how the key providers answer, and what is wrong.")
final class StatusCommand extends PgveilCommand.RequestCommand {
  @Option(names = "--json", description = "Print JSON.")
  boolean json;

  @Override
  Request request() {
    return new Request.Status();
  }

  @Override
  void show(Reply reply) {
    if (json) {
      Json.print(out(), reply);
      return;
    }
    Reply.Status status = (Reply.Status) reply;
    out().println("cipher directory  " + status.cipherDirectory());
    out()
        .println(
            status.mountPoint() == null
                ? "mounted           no"
                : "mounted           on %s by process %d"
                    .formatted(status.mountPoint(), status.pid()));
    out()
        .println(
            "WAL               %d ranges, the newest %s"
                .formatted(
                    status.walRanges(), status.walEncrypted() ? "encrypted" : "NOT ENCRYPTED"));
    for (Reply.ProviderHealth p : status.providers()) {
      out().println("key provider      " + describe(p));
    }
    for (String warning : status.warnings()) {
      out().println("warning           " + warning);
    }
    out().println();
    out().print(KeyCommand.table(status.scopes()));
  }

  private static String describe(Reply.ProviderHealth p) {
    String last =
        p.failing()
            ? "FAILING, at %s: %s, last good answer %s"
                .formatted(
                    p.lastFailure(),
                    p.lastError(),
                    p.lastSuccess() == null ? "never" : "at " + p.lastSuccess())
            : "answers, last at " + p.lastSuccess();
    return "%s %s (%d requests, %d failed)".formatted(p.name(), last, p.requests(), p.failures());
  }
}
