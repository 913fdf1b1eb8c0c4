package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Gives a key provider other settings (pg_tde behaviour 3.2 and 10.1), after every key in use was
 * found there and fits the headers that it signed.
 *
 * <p>Unlike pg_tde, a database's provider is compared with that database's header alone, and the
 * default key and the shared relations are looked at too. Only where no key is in use the place
 * need not hold one, and may be made: a keyring at a wrong path is not.
 *
 * @param type may differ from the present one; no key is moved
 * @param unchecked takes the settings as they are, and asks nobody
 */
public record ChangeProvider(
    Scope owner,
    @Nullable String type,
    @Nullable String name,
    @Nullable String options,
    boolean unchecked) {

  /** With every check. */
  public ChangeProvider(
      Scope owner, @Nullable String type, @Nullable String name, @Nullable String options) {
    this(owner, type, name, options, false);
  }

  public void run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    directory.exclusively(
        () -> {
          change(directory);
          return null;
        });
  }

  private void change(KeyDirectory directory) throws KeyException {
    Arguments.owner(owner);
    String typeName = Arguments.notNull(type, "provider type");
    String wanted = Arguments.notNull(name, "provider name");
    String json = Arguments.notNull(options, "provider options");
    ProviderRecord old = Arguments.existing(directory, owner, wanted);
    Arguments.options(json);
    KeyProviderFactory factory = Arguments.type(directory, typeName);
    ProviderRecord changed =
        new ProviderRecord(owner.oid(), old.id(), old.name(), json, factory.typeNumber());
    if (unchecked) {
      ProviderOptions.parse(json, factory);
    } else if (!holdsKeysInUse(directory, old, changed)) {
      Arguments.validate(directory, factory, json);
    }
    if (!old.name().equals(wanted)) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "keyring \"" + wanted + "\" does not exist",
          "the name is written \"" + old.name() + "\"");
    }
    directory.providers().put(changed);
    KeyDirectory.LOG.info(
        "changed key provider {} (id {}) of {} to type {}{}",
        wanted,
        old.id(),
        owner,
        typeName,
        unchecked ? ", unchecked" : "");
  }

  /** Verifies each of them; false if there are none. */
  private static boolean holdsKeysInUse(
      KeyDirectory directory, ProviderRecord old, ProviderRecord changed) throws KeyException {
    boolean any = false;
    try (KeyProvider provider = directory.providers().openAnew(changed)) {
      for (KeyFile file : directory.keyFiles()) {
        SignedHeader header = file.header();
        if (header != null && uses(header, old)) {
          verify(directory, provider, old.name(), file.scope, header);
          any = true;
        }
      }
    }
    return any;
  }

  static boolean uses(SignedHeader header, ProviderRecord provider) {
    PrincipalKey.Id id = PrincipalKey.Id.of(header);
    return id.owner() == provider.owner() && id.providerId() == provider.id();
  }

  private static void verify(
      KeyDirectory directory,
      KeyProvider provider,
      String providerName,
      Scope scope,
      SignedHeader header)
      throws KeyException {
    String user =
        scope.equals(Scope.SERVER)
            ? "used as server key"
            : scope.equals(Scope.DEFAULT)
                ? "used as default key"
                : "used by database \"" + Integer.toUnsignedString(scope.oid()) + "\"";
    Optional<KeyMaterial> found;
    try {
      found = directory.principalKeys().fetch(provider, header.name());
    } catch (ProviderException e) {
      throw new KeyException(
          Kind.PROVIDER_FAILED,
          "failed to retreive \"%s\" key %s from modified key provider \"%s\""
              .formatted(header.name(), user, providerName),
          e.code().text(),
          null,
          e.getMessage(),
          e);
    }
    if (found.isEmpty()) {
      throw new KeyException(
          Kind.KEY_NOT_FOUND,
          "key \"%s\" %s not found in modified key provider \"%s\""
              .formatted(header.name(), user, providerName),
          "bring the key there first; the provider is unchanged");
    }
    try (KeyMaterial material = found.get();
        KeyWrap wrap = new KeyWrap(material.bytes(), directory.random())) {
      if (!header.isSignedBy(wrap)) {
        throw new KeyException(
            Kind.WRONG_KEY,
            "key \"%s\" from modified key provider \"%s\" does not match existing %s"
                .formatted(
                    header.name(),
                    providerName,
                    user.startsWith("used as ") ? user.substring(8) : "key " + user),
            "bring the right key there first; the provider is unchanged");
      }
    }
  }
}
