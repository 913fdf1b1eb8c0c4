package io.pgveil.keys.file;

import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.KeyProviderFactory;
import io.pgveil.keys.ProviderException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The provider type {@code file}; its option is {@code path}. */
public final class FileProviderFactory implements KeyProviderFactory {
  private static final String PATH = "path";

  @Override
  public String typeName() {
    return "file";
  }

  @Override
  public int typeNumber() {
    return 1;
  }

  @Override
  public List<String> optionNames() {
    return List.of(PATH);
  }

  @Override
  public List<String> requiredOptions() {
    return List.of(PATH);
  }

  @Override
  public String missingOptions(List<String> missing) {
    return "file path is missing in the keyring options";
  }

  @Override
  public KeyProvider open(Map<String, String> options, Context context) throws ProviderException {
    return keyring(options, context);
  }

  /** Makes the keyring if it does not exist, as pg_tde does. */
  @Override
  public void validate(Map<String, String> options, Context context) throws ProviderException {
    keyring(options, context).validate();
  }

  private static FileKeyring keyring(Map<String, String> options, Context context)
      throws ProviderException {
    String path = options.getOrDefault(PATH, "");
    try {
      return new FileKeyring(Path.of(path), context.forbiddenRoots());
    } catch (InvalidPathException e) {
      throw new ProviderException(
          ProviderException.Code.UNAVAILABLE, "Failed to open keyring file: it holds a NUL", e);
    }
  }
}
