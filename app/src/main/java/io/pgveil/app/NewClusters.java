package io.pgveil.app;

import io.pgveil.app.cluster.CipherDirectory;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.storage.Storage.FirstProvider;
import io.pgveil.app.storage.Storage.NewCluster;
import java.nio.file.Path;

/** Making a cipher directory, for {@code init} and {@code up}. */
final class NewClusters {
  private NewClusters() {}

  /** The same with paths that do not depend on who uses them from where, if it can be made. */
  static NewCluster checked(NewCluster cluster) throws CommandException {
    Path cipher = cluster.cipherDirectory().toAbsolutePath().normalize();
    CipherDirectory.requireVacant(cipher);
    FirstProvider provider = cluster.provider();
    Path keyring = provider.keyring();
    if (keyring != null) {
      keyring = keyring.toAbsolutePath().normalize();
      provider = FirstProvider.keyring(keyring);
      if (keyring.startsWith(cipher)) {
        throw new CommandException(
            ExitCode.KEYRING_INSIDE,
            "cannot make a keyring",
            keyring,
            "it lies inside the cipher directory " + cipher);
      }
    }
    return new NewCluster(cipher, provider, cluster.keyName(), cluster.keyBits());
  }
}
