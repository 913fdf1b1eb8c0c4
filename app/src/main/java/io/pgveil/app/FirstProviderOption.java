package io.pgveil.app;

import io.pgveil.app.storage.Storage.FirstProvider;
import io.pgveil.keys.KeyProviderFactory;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Where the principal keys of a new cluster are. */
final class FirstProviderOption {
  /** The installed types with their options, for help texts. */
  static class Types implements Iterable<String> {
    @Override
    public Iterator<String> iterator() {
      return KeyProviderFactory.installed().stream()
          .map(f -> f.typeName() + " (" + String.join(", ", options(f)) + ")")
          .iterator();
    }

    List<String> options(KeyProviderFactory factory) {
      return factory.optionNames();
    }
  }

  @Spec(Spec.Target.MIXEE)
  CommandSpec mixee;

  @Option(
      names = "--keyring",
      paramLabel = "FILE",
      description =
          "For a new cluster: keyring of the file key provider, outside the cipher directory; made if"
              + " it is missing. Who has it can read the data; without it nobody can. Default of"
              + " 'up': DIR/keyring/keyring.file.")
  @Nullable Path keyring;

  @Option(
      names = "--provider",
      paramLabel = "TYPE",
      completionCandidates = Types.class,
      description =
          "For a new cluster, instead of a keyring: key provider of this type, with its options:"
              + " ${COMPLETION-CANDIDATES}.")
  @Nullable String type;

  @Option(
      names = "--option",
      paramLabel = "NAME=VALUE",
      description = "Option of --provider; once for each.")
  Map<String, String> options = new LinkedHashMap<>();

  /** What was chosen, or the keyring of the file provider that is the default. */
  FirstProvider provider(@Nullable Path defaultKeyring) {
    if ((type != null && keyring != null) || (type == null && !options.isEmpty())) {
      throw new ParameterException(
          mixee.commandLine(), "give --keyring, or --provider with --option, not both");
    }
    if (type != null) {
      return new FirstProvider(type, type, options);
    }
    Path file = keyring != null ? keyring : defaultKeyring;
    if (file == null) {
      throw new ParameterException(
          mixee.commandLine(), "Missing required option: '--keyring=FILE' or '--provider=TYPE'");
    }
    return FirstProvider.keyring(file);
  }
}
