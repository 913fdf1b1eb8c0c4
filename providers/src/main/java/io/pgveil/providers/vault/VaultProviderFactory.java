package io.pgveil.providers.vault;

import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.KeyProviderFactory;
import io.pgveil.keys.ProviderException;
import java.util.List;
import java.util.Map;

/** The provider type {@code vault-v2}. */
public final class VaultProviderFactory implements KeyProviderFactory {
  @Override
  public String typeName() {
    return "vault-v2";
  }

  @Override
  public int typeNumber() {
    return 2;
  }

  @Override
  public List<String> optionNames() {
    return List.of(
        VaultSettings.URL,
        VaultSettings.MOUNT_PATH,
        VaultSettings.TOKEN_PATH,
        VaultSettings.CA_PATH,
        VaultSettings.NAMESPACE,
        VaultSettings.ROLE_ID_PATH,
        VaultSettings.SECRET_ID_PATH,
        VaultSettings.APPROLE_PATH,
        VaultSettings.PLAIN_HTTP_HOST);
  }

  @Override
  public List<String> positionalOptions() {
    return List.of(
        VaultSettings.URL,
        VaultSettings.MOUNT_PATH,
        VaultSettings.TOKEN_PATH,
        VaultSettings.CA_PATH);
  }

  @Override
  public List<String> requiredOptions() {
    return List.of(VaultSettings.TOKEN_PATH, VaultSettings.URL, VaultSettings.MOUNT_PATH);
  }

  @Override
  public List<String> requiredOptions(Map<String, String> given) {
    return VaultSettings.logsIn(given)
        ? List.of(
            VaultSettings.ROLE_ID_PATH,
            VaultSettings.SECRET_ID_PATH,
            VaultSettings.URL,
            VaultSettings.MOUNT_PATH)
        : requiredOptions();
  }

  @Override
  public KeyProvider open(Map<String, String> options, Context context) throws ProviderException {
    return new VaultProvider(VaultSettings.of(options, context));
  }

  /** Looks whether the mount is a key/value engine of version 2, as far as the token may see it. */
  @Override
  public void validate(Map<String, String> options, Context context) throws ProviderException {
    try (VaultProvider provider = new VaultProvider(VaultSettings.of(options, context))) {
      provider.validate();
    }
  }
}
