package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import org.jspecify.annotations.Nullable;

/** Checks that several operations share, with pg_tde's messages (behaviour 3 and 4.1). */
final class Arguments {
  /** The longest name of a provider that still leaves room for the NUL, plus one. */
  private static final int PROVIDER_NAME_LIMIT = 127;

  private Arguments() {}

  static String notNull(@Nullable String value, String what) throws KeyException {
    if (value == null) {
      throw new KeyException(Kind.NULL_ARGUMENT, what + " cannot be null");
    }
    return value;
  }

  static KeyName keyName(@Nullable String name) throws KeyException {
    String text = notNull(name, "key name");
    int size = ProviderRecord.lengthInBytes(text);
    if (size == 0) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "key name \"\" is too short");
    }
    if (size >= KeyName.FIELD_SIZE) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "key name \"" + text + "\" is too long",
          null,
          "Maximum length is 255 bytes.",
          null,
          null);
    }
    if (text.indexOf(0) >= 0) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "key name holds a NUL");
    }
    return KeyName.of(text);
  }

  static ProviderRecord provider(KeyDirectory directory, Scope owner, @Nullable String name)
      throws KeyException {
    return existing(directory, owner, notNull(name, "key provider name"));
  }

  static ProviderRecord existing(KeyDirectory directory, Scope owner, String name)
      throws KeyException {
    ProviderRecord found = directory.providers().find(owner, name);
    if (found == null) {
      throw new KeyException(
          Kind.NO_SUCH_PROVIDER,
          "key provider \"" + name + "\" does not exists",
          owner.equals(Scope.SERVER)
              ? "no global key provider has this name"
              : owner + " has no key provider of this name");
    }
    return found;
  }

  static void providerName(String name) throws KeyException {
    int size = ProviderRecord.lengthInBytes(name);
    if (size == 0) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "provider name \"\" is too short");
    }
    if (size >= PROVIDER_NAME_LIMIT) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "provider name \"" + name + "\" is too long",
          null,
          "Maximum length is 127 bytes.",
          null,
          null);
    }
    if (name.indexOf(0) >= 0) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "provider name holds a NUL");
    }
  }

  static void options(String options) throws KeyException {
    if (ProviderRecord.lengthInBytes(options) >= ProviderRecord.OPTIONS_SIZE) {
      throw new KeyException(
          Kind.INVALID_ARGUMENT, "too large provider options, maximum size is 1023 bytes");
    }
    if (options.indexOf(0) >= 0) {
      throw new KeyException(Kind.INVALID_ARGUMENT, "provider options hold a NUL");
    }
  }

  static KeyProviderFactory type(KeyDirectory directory, String type) throws KeyException {
    KeyProviderFactory factory = directory.providers().factory(type);
    if (factory == null) {
      throw new KeyException(
          Kind.INVALID_TYPE,
          "Invalid provider type.",
          "\"" + type + "\" is not one of " + directory.providers().typeNames());
    }
    return factory;
  }

  static void validate(KeyDirectory directory, KeyProviderFactory factory, String options)
      throws KeyException {
    try {
      factory.validate(ProviderOptions.parse(options, factory), directory.providers().context());
    } catch (ProviderException e) {
      throw Providers.failed(e);
    }
  }

  /** Providers belong to a database, or to {@link Scope#SERVER}: the global ones. */
  static void owner(Scope owner) throws KeyException {
    if (!owner.isDatabase() && !owner.equals(Scope.SERVER)) {
      throw new KeyException(Kind.INVALID_ARGUMENT, owner + " has no key providers of its own");
    }
  }
}
