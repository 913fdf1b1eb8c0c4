package io.pgveil.keys;

import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;

/**
 * Makes providers of one type; found by {@link java.util.ServiceLoader}.
 *
 * <p>The options of a provider are a flat set of names and texts, stored as JSON in {@code
 * <oid>_providers}. They hold paths of credentials, never credentials.
 */
public interface KeyProviderFactory {
  /**
   * Every type that is installed, in the order of their numbers. On the module path those of the
   * modules are found, on the class path those in META-INF/services.
   */
  static List<KeyProviderFactory> installed() {
    return ServiceLoader.load(KeyProviderFactory.class, KeyProviderFactory.class.getClassLoader())
        .stream()
        .map(ServiceLoader.Provider::get)
        .sorted(Comparator.comparingInt(KeyProviderFactory::typeNumber))
        .toList();
  }

  /** The name in SQL and on the command line. */
  String typeName();

  /** The number in {@code <oid>_providers}; 1 to 3 are pg_tde's. */
  int typeNumber();

  /** The options that this type knows. */
  List<String> optionNames();

  /** Those that pg_tde_change_key_provider takes without their names, in its order. */
  default List<String> positionalOptions() {
    return optionNames();
  }

  /** Those that must be there and not empty, in the order in which missing ones are named. */
  List<String> requiredOptions();

  /** The same, where it depends on the options that are given. */
  default List<String> requiredOptions(Map<String, String> given) {
    return requiredOptions();
  }

  /** How pg_tde calls the type in "unexpected field". */
  default String typeNameForUnknownOption() {
    return typeName();
  }

  /** The message when required options are missing. */
  default String missingOptions(List<String> missing) {
    return "missing in the keyring options: " + String.join(" ", missing);
  }

  /**
   * Opens a provider; makes no contact yet.
   *
   * @param options known options only, required ones present
   */
  KeyProvider open(Map<String, String> options, Context context) throws ProviderException;

  /** Whether these settings work: contacts the provider. */
  void validate(Map<String, String> options, Context context) throws ProviderException;

  /**
   * What a provider must know about its surroundings.
   *
   * @param forbiddenRoots directories in which no keyring or credential may lie: the cipher
   *     directory and the mount. A path below them is refused before it is touched, because the
   *     mount is served by this very process
   */
  record Context(List<Path> forbiddenRoots) {
    public Context {
      forbiddenRoots = List.copyOf(forbiddenRoots);
    }
  }
}
