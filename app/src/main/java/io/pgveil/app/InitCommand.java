package io.pgveil.app;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.RunAs;
import io.pgveil.app.storage.Storage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A new cipher directory. */
@Command(
    name = "init",
    description = {
      "Make a cipher directory: key directory, key provider, principal key for everything.",
      "Then mount it, and run initdb --data-checksums on the mount or restore a backup into it."
    })
final class InitCommand extends PgveilCommand {
  @Parameters(paramLabel = "CIPHERDIR", description = "An empty or new directory.")
  Path cipherDirectory;

  @Mixin FirstProviderOption first = new FirstProviderOption();

  @Option(
      names = "--key",
      defaultValue = "principal-key-1",
      paramLabel = "NAME",
      description = "Name of the first principal key. Default: ${DEFAULT-VALUE}.")
  String keyName;

  @Mixin CipherOption cipher = new CipherOption();

  @Option(
      names = "--owner",
      paramLabel = "USER",
      description =
          "User of PostgreSQL, who gets the directory. Default for root: postgres, else nobody.")
  @Nullable String owner;

  @Override
  ExitCode run() throws CommandException {
    RunAs user = RunAs.resolve(owner);
    Storage.NewCluster cluster =
        NewClusters.checked(
            new Storage.NewCluster(
                cipherDirectory, first.provider(null), keyName, cipher.keyBits()));
    try {
      create(cluster, user);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot make the cipher directory",
              cipherDirectory,
              CommandException.reason(e))
          .causedBy(e);
    }
    say("made the cipher directory " + cipherDirectory);
    say(
        "the principal keys are in "
            + cluster.provider().place()
            + ": keep a copy elsewhere, without it the data is lost");
    return ExitCode.OK;
  }

  /** Leaves things as they were if it fails, but for the keyring. */
  private void create(Storage.NewCluster cluster, RunAs user) throws CommandException, IOException {
    List<Path> made = Durable.makeDirectories(cluster.cipherDirectory(), 0700);
    Path directory = cluster.cipherDirectory().toRealPath();
    Map<String, Object> before = Files.readAttributes(directory, "unix:uid,gid");
    boolean complete = false;
    try {
      user.own(directory);
      storage().create(cluster);
      complete = true;
    } finally {
      if (!complete) {
        for (Map.Entry<String, Object> a : before.entrySet()) {
          Files.setAttribute(directory, "unix:" + a.getKey(), a.getValue());
        }
        Durable.removeEmpty(made);
      }
    }
  }
}
