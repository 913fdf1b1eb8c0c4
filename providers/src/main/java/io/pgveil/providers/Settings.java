package io.pgveil.providers;

import io.pgveil.keys.KeyProviderFactory.Context;
import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;

/** How options of every provider are read. */
public final class Settings {
  private Settings() {}

  /** The items of a list with commas. */
  public static List<String> list(String text) {
    return Pattern.compile(",")
        .splitAsStream(text)
        .map(String::strip)
        .filter(item -> !item.isEmpty())
        .toList();
  }

  /**
   * A file that holds a credential or a certificate.
   *
   * @param what its name in messages
   * @param modes see {@link PrivateFile#forbiddenModes()}
   */
  public static PrivateFile file(String what, String path, int modes, Context context)
      throws ProviderException {
    try {
      return new PrivateFile(what, Path.of(path), modes, context.forbiddenRoots());
    } catch (InvalidPathException e) {
      throw new ProviderException(Code.REFUSED, what + " is refused: its path holds a NUL", e);
    }
  }
}
