package io.pgveil.app;

import io.pgveil.app.control.ControlClient;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.Storage;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Stands where the modules below will be joined. */
final class NoStorage implements Storage {
  private static CommandException absent(Path object) {
    return new CommandException(
        ExitCode.INTERNAL, "cannot use the cluster", object, "this build has no file system");
  }

  @Override
  public void create(NewCluster cluster) throws CommandException {
    throw absent(cluster.cipherDirectory());
  }

  @Override
  public ControlClient.OpenCluster open(Path cipherDirectory) throws CommandException {
    throw absent(cipherDirectory);
  }

  @Override
  public Mounted mount(MountRequest request) throws CommandException {
    throw absent(request.cipherDirectory());
  }

  @Override
  public List<Finding> verify(Path cipherDirectory, Progress progress) throws CommandException {
    throw absent(cipherDirectory);
  }

  @Override
  public Map<String, String> inspect(Path cipherDirectory, Path file) throws CommandException {
    throw absent(file);
  }
}
