package io.pgveil.providers.kmip;

import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.KeyProviderFactory;
import io.pgveil.keys.ProviderException;
import io.pgveil.providers.Failover;
import java.util.List;
import java.util.Map;

/** The provider type {@code kmip}. */
public final class KmipProviderFactory implements KeyProviderFactory {
  @Override
  public String typeName() {
    return "kmip";
  }

  @Override
  public int typeNumber() {
    return 3;
  }

  @Override
  public List<String> optionNames() {
    return requiredOptions();
  }

  @Override
  public List<String> positionalOptions() {
    return List.of(
        KmipSettings.HOST,
        KmipSettings.PORT,
        KmipSettings.CERT_PATH,
        KmipSettings.KEY_PATH,
        KmipSettings.CA_PATH);
  }

  @Override
  public List<String> requiredOptions() {
    return List.of(
        KmipSettings.HOST,
        KmipSettings.PORT,
        KmipSettings.CA_PATH,
        KmipSettings.CERT_PATH,
        KmipSettings.KEY_PATH);
  }

  /** So says pg_tde of both. */
  @Override
  public String typeNameForUnknownOption() {
    return "vault-v2";
  }

  @Override
  public KeyProvider open(Map<String, String> options, Context context) throws ProviderException {
    return new KmipProvider(KmipSettings.of(options, context), Failover.BUDGET);
  }

  /** Connects to a server, and asks it whether it does what is needed. */
  @Override
  public void validate(Map<String, String> options, Context context) throws ProviderException {
    new KmipProvider(KmipSettings.of(options, context), Failover.BUDGET).validate();
  }
}
