package io.pgveil.app;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.app.control.Reply;
import io.pgveil.app.control.Request;
import io.pgveil.app.error.ExitCode;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class MainTest {
  @TempDir Path root;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    return Main.commandLine(new BindStorage(), false)
        .setOut(new PrintWriter(out, true))
        .setErr(new PrintWriter(err, true))
        .execute(args);
  }

  @Test
  void versionTellsTheJvm() {
    assertThat(run("--version")).isZero();
    assertThat(out.toString()).startsWith("pgveil 0.1.0").contains(Runtime.version().toString());
  }

  @Test
  void helpErrorsListsEveryExitCode() {
    assertThat(run("help", "errors")).isZero();
    for (ExitCode c : ExitCode.values()) {
      assertThat(out.toString()).contains("%4d  %s".formatted(c.code(), c.label()), c.remedy());
    }
  }

  @TestFactory
  Stream<DynamicTest> everyCommandHasHelp() {
    return commands(Main.commandLine(new BindStorage(), false))
        .map(
            c ->
                DynamicTest.dynamicTest(
                    c.getCommandSpec().qualifiedName(),
                    () -> {
                      assertThat(c.getCommandSpec().usageMessage().description()).isNotEmpty();
                      assertThat(c.getCommandSpec().args())
                          .allSatisfy(a -> assertThat(a.description()).isNotEmpty());
                      String[] path = c.getCommandSpec().qualifiedName().split(" ");
                      path[0] = "help";
                      assertThat(run(path)).isZero();
                    }));
  }

  private static Stream<CommandLine> commands(CommandLine command) {
    return Stream.concat(
        Stream.of(command), command.getSubcommands().values().stream().flatMap(MainTest::commands));
  }

  @TestFactory
  Stream<DynamicTest> badInputGivesItsCodeAndNamesObjectAndRemedy() throws Exception {
    Path empty = Files.createDirectory(root.resolve("empty"));
    Path plain = Files.createDirectory(root.resolve("plain"));
    Files.writeString(plain.resolve("PG_VERSION"), "18\n");
    Path tde = Files.createDirectories(root.resolve("tde"));
    Files.writeString(tde.resolve("PG_VERSION"), "17\n");
    Files.createDirectory(tde.resolve("pg_tde"));
    Path foreign = Files.createDirectory(root.resolve("foreign"));
    Files.createFile(foreign.resolve("file"));
    Path lost = Files.createDirectories(root.resolve("lost"));
    Files.write(lost.resolve("PG_VERSION"), new byte[67]);
    Files.createDirectory(lost.resolve("pg_tde"));
    Path good = Files.createDirectories(root.resolve("good"));
    Files.createDirectory(good.resolve("pg_tde"));
    Files.createFile(good.resolve("pg_tde/pgveil.seal"));
    Path missing = root.resolve("missing");
    String m = empty.toString();
    return Stream.of(
            new Case(ExitCode.USAGE, "unmount", "unmount"),
            new Case(ExitCode.USAGE, "a command is missing"),
            new Case(ExitCode.USAGE, "a command is missing", "key"),
            new Case(ExitCode.USAGE, "--scope", "key", "set", "k", "--provider", "p"),
            new Case(ExitCode.USAGE, "'x'", "key", "verify", "--scope", "x"),
            new Case(ExitCode.USAGE, "no-such", "help", "no-such"),
            new Case(ExitCode.CIPHER_DIR_MISSING, missing, "mount", missing.toString(), m),
            new Case(ExitCode.CIPHER_DIR_FOREIGN, empty, "status", "-D", empty.toString()),
            new Case(ExitCode.CIPHER_DIR_FOREIGN, foreign, "mount", foreign.toString(), m),
            new Case(ExitCode.PLAIN_POSTGRES, plain, "mount", plain.toString(), m),
            new Case(ExitCode.PG_TDE_CLUSTER, tde, "mount", tde.toString(), m),
            new Case(ExitCode.SEAL_DAMAGED, lost, "verify", "-D", lost.toString()),
            new Case(
                ExitCode.PLAIN_POSTGRES, plain, "init", plain.toString(), "--keyring", m + "/k"),
            new Case(
                ExitCode.CIPHER_DIR_NOT_EMPTY,
                good,
                "init",
                good.toString(),
                "--keyring",
                m + "/k"),
            new Case(ExitCode.KEYRING_INSIDE, m + "/k", "init", m, "--keyring", m + "/k"),
            new Case(
                ExitCode.MOUNT_POINT_NOT_EMPTY,
                foreign,
                "mount",
                good.toString(),
                foreign.toString()),
            new Case(
                ExitCode.MOUNT_POINT_MISSING,
                missing,
                "mount",
                good.toString(),
                missing.toString()),
            new Case(ExitCode.MOUNT_POINT_BUSY, "/proc", "mount", good.toString(), "/proc"),
            new Case(
                ExitCode.USAGE,
                "log",
                "mount",
                good.toString(),
                m,
                "--log-file",
                good.resolve("l").toString()),
            new Case(ExitCode.NOT_MOUNTED, empty, "umount", m),
            new Case(ExitCode.POSTGRES_MISSING, m, "up", missing.toString(), "--pg-bindir", m),
            new Case(
                ExitCode.POSTGRES_MISSING,
                "PostgreSQL 3",
                "up",
                missing.toString(),
                "--pg-version",
                "3"))
        .map(c -> DynamicTest.dynamicTest(c.toString(), () -> check(c)));
  }

  /** A command line, its exit code, and the object that the message must name. */
  private record Case(ExitCode code, Object object, List<String> args) {
    Case(ExitCode code, Object object, String... args) {
      this(code, object, List.of(args));
    }

    @Override
    public String toString() {
      return code + ": " + String.join(" ", args);
    }
  }

  private void check(Case c) {
    err.getBuffer().setLength(0);
    assertThat(run(c.args.toArray(String[]::new))).isEqualTo(c.code.code());
    assertThat(err.toString().lines())
        .satisfiesExactly(
            message -> assertThat(message).startsWith("pgveil: ").contains(c.object.toString()),
            remedy -> assertThat(remedy).startsWith("remedy: ").hasSizeGreaterThan(20));
  }

  @Test
  void aStackTraceIsPrintedOnlyWithDebug() {
    String missing = root.resolve("missing").toString();
    run("verify", "-D", missing);
    assertThat(err.toString()).doesNotContain("\tat ");
    run("verify", "-D", missing, "--debug");
    assertThat(err.toString()).contains("\tat io.pgveil.app");
  }

  @Test
  void keyAndProviderCommandsAreRequests() {
    assertRequest(
        new Request.CreateKey("k", "p", 5L), "key", "create", "k", "--provider=p", "--database=5");
    assertRequest(
        new Request.SetKey(1664, "k", "p", null),
        "key",
        "set",
        "k",
        "--provider=p",
        "--scope=server");
    assertRequest(
        new Request.MoveKey("k", "p", 5L, "q", null),
        "key",
        "move",
        "k",
        "--from=p",
        "--to=q",
        "--database=5");
    assertRequest(new Request.VerifyKey(16384), "key", "verify", "--scope=16384");
    assertRequest(new Request.DeleteKey(1663), "key", "delete", "--scope=default");
    assertRequest(new Request.ListKeys(), "key", "list", "--json");
    assertRequest(
        new Request.AddProvider("p", "file", Map.of("path", "/a=b"), null),
        "provider",
        "add",
        "p",
        "file",
        "path=/a=b");
    assertRequest(
        new Request.ChangeProvider("p", "kmip", Map.of("host", "h", "port", "5696"), 5L, false),
        "provider",
        "change",
        "p",
        "kmip",
        "host=h",
        "port=5696",
        "--database=5");
    assertRequest(new Request.DeleteProvider("p", null), "provider", "delete", "p");
    assertRequest(new Request.ListProviders(null), "provider", "list");
    assertRequest(new Request.Status(), "status", "/dir");
    assertRequest(
        new Request.CreateKey("k", "p", null), "key", "create", "--provider=p", "k", "/d");
    assertRequest(
        new Request.AddProvider("p", "file", Map.of("path", "/k"), null),
        "provider",
        "add",
        "p",
        "file",
        "path=/k",
        "/dir");
  }

  @Test
  void changeKeyProviderTakesArgumentsInPgTdesOrderOrByName() throws Exception {
    assertChange("keyring", "file", Map.of("path", "/a=b"), null, "1664 keyring file /a=b");
    assertChange("keyring", "file", Map.of("path", "/k"), 5L, "5 keyring file /k");
    assertChange("keyring", "file", Map.of("path", "/k"), null, "keyring file path=/k");
    Map<String, String> vault =
        Map.of("url", "https://h", "mountPath", "m", "tokenPath", "/t", "caPath", "/c");
    assertChange("v", "vault-v2", vault, null, "1664 v vault-v2 https://h m /t /c");
    assertChange("v", "vault-v2", vault, null, "v vault-v2 caPath=/c https://h m /t");
    for (String wrong :
        List.of(
            "1664 keyring file /a /b",
            "1664 keyring file",
            "1664",
            "99999999999 keyring file /a",
            "v vault-v2 https://h m /t /c team",
            "keyring file path=/a path=/b")) {
      err.getBuffer().setLength(0);
      assertThat(run(("change-key-provider " + wrong).split(" ")))
          .as(wrong)
          .isEqualTo(ExitCode.USAGE.code());
      assertThat(err.toString()).contains("pgveil: wrong command line: ", "\nremedy: ");
    }
    assertThat(run("change-key-provider", "1664", "p", "abacus", "/a"))
        .isEqualTo(ExitCode.PROVIDER_UNKNOWN.code());
  }

  private static void assertChange(
      String provider, String type, Map<String, String> options, Long database, String args)
      throws Exception {
    for (boolean unchecked : new boolean[] {false, true}) {
      String line = "change-key-provider -D /d " + (unchecked ? "--no-check " : "") + args;
      CommandLine.ParseResult result =
          Main.commandLine(new BindStorage(), false).parseArgs(line.split(" ")).subcommand();
      assertThat(((ChangeKeyProviderCommand) result.commandSpec().userObject()).request())
          .isEqualTo(new Request.ChangeProvider(provider, type, options, database, unchecked));
    }
  }

  private static void assertRequest(Request expected, String... args) {
    CommandLine.ParseResult result = Main.commandLine(new BindStorage(), false).parseArgs(args);
    while (result.hasSubcommand()) {
      result = result.subcommand();
    }
    PgveilCommand.RequestCommand command =
        (PgveilCommand.RequestCommand) result.commandSpec().userObject();
    assertThat(command).satisfies(c -> assertThat(c.request()).isEqualTo(expected));
  }

  @Test
  void keysAreShownAsATable() {
    assertThat(
            KeyCommand.table(
                List.of(
                    new Reply.ScopeKey("server", 1664, "k1", "file", -1, "2026-01-01T00:00:00Z", 3),
                    new Reply.ScopeKey("database", 5, null, null, null, null, 1200))))
        .isEqualTo(
            """
            scope       principal key  provider  set                   internal keys
            server      k1             file      2026-01-01T00:00:00Z              3
            database 5  -              -         -                              1200
            """);
  }

  @Test
  void verifyEndsWithItsCodeIfItFindsSomething() throws Exception {
    Path cipher = Files.createDirectories(root.resolve("c"));
    Files.createDirectory(cipher.resolve("pg_tde"));
    Files.createFile(cipher.resolve("pg_tde/pgveil.seal"));
    assertThat(run("verify", "-D", cipher.toString())).isEqualTo(ExitCode.FINDINGS.code());
    assertThat(out.toString()).contains("clear: not encrypted", "1 findings");
  }
}
