package io.pgveil.app.cluster;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a directory is that was given as cipher directory. Only looks; the files' contents are
 * checked by who reads them.
 */
public final class CipherDirectory {
  /** Name of the key directory, as in pg_tde. */
  public static final String KEYS = "pg_tde";

  /** The file in {@link #KEYS} that every cipher directory of pgveil has, and no other. */
  public static final String SEAL = "pgveil.seal";

  private static final Pattern CLEAR_VERSION = Pattern.compile("\\d{1,2}(\\.\\d)?\\s*");

  /** Kinds of directories. */
  public enum Kind {
    MISSING,
    EMPTY,
    PGVEIL,
    PLAIN_POSTGRES,
    PG_TDE,
    SEAL_LOST,
    FOREIGN
  }

  private CipherDirectory() {}

  /** Tells the kind of a directory by the names in it and by whether PG_VERSION is clear. */
  public static Kind kind(Path directory) throws CommandException {
    if (!Files.isDirectory(directory)) {
      return Kind.MISSING;
    }
    try {
      Path keys = directory.resolve(KEYS);
      if (Files.isRegularFile(keys.resolve(SEAL))) {
        return Kind.PGVEIL;
      }
      Path version = directory.resolve("PG_VERSION");
      if (Files.isRegularFile(version)) {
        if (!isClearVersion(version)) {
          return Kind.SEAL_LOST;
        }
        return Files.isDirectory(keys) ? Kind.PG_TDE : Kind.PLAIN_POSTGRES;
      }
      try (Stream<Path> files = Files.list(directory)) {
        return files.findAny().isEmpty() ? Kind.EMPTY : Kind.FOREIGN;
      }
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot read the cipher directory",
              directory,
              CommandException.reason(e))
          .causedBy(e);
    }
  }

  private static boolean isClearVersion(Path file) throws IOException {
    return Files.size(file) <= 16
        && CLEAR_VERSION
            .matcher(new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1))
            .matches();
  }

  /**
   * The real path of a cipher directory, or a refusal that says what the directory is instead.
   *
   * @param what the command in words, for example {@code "cannot mount"}
   */
  public static Path require(Path directory, String what) throws CommandException {
    Kind kind = kind(directory);
    ExitCode code =
        switch (kind) {
          case PGVEIL -> ExitCode.OK;
          case MISSING -> ExitCode.CIPHER_DIR_MISSING;
          case EMPTY, FOREIGN -> ExitCode.CIPHER_DIR_FOREIGN;
          case PLAIN_POSTGRES -> ExitCode.PLAIN_POSTGRES;
          case PG_TDE -> ExitCode.PG_TDE_CLUSTER;
          case SEAL_LOST -> ExitCode.SEAL_DAMAGED;
        };
    if (code != ExitCode.OK) {
      String reason =
          switch (kind) {
            case EMPTY -> "the directory is empty";
            case FOREIGN -> "there is no " + KEYS + "/" + SEAL + " in it";
            case SEAL_LOST -> KEYS + "/" + SEAL + " is missing, but there are sealed files";
            default -> code.meaning();
          };
      throw new CommandException(code, what, directory, reason);
    }
    return real(directory);
  }

  /**
   * As {@link #require}, but a data directory of pg_tde will do: its key directory has the same
   * formats.
   */
  public static Path requireKeys(Path directory, String what) throws CommandException {
    return kind(directory) == Kind.PG_TDE ? real(directory) : require(directory, what);
  }

  /** Refuses a directory in which a new cipher directory cannot be made. */
  public static void requireVacant(Path directory) throws CommandException {
    Kind kind = kind(directory);
    ExitCode code =
        switch (kind) {
          case MISSING, EMPTY -> ExitCode.OK;
          case PGVEIL, SEAL_LOST, FOREIGN -> ExitCode.CIPHER_DIR_NOT_EMPTY;
          case PLAIN_POSTGRES -> ExitCode.PLAIN_POSTGRES;
          case PG_TDE -> ExitCode.PG_TDE_CLUSTER;
        };
    if (code != ExitCode.OK) {
      throw new CommandException(
          code,
          "cannot make a cipher directory",
          directory,
          kind == Kind.PGVEIL ? "it already is one" : code.meaning());
    }
  }

  private static Path real(Path directory) throws CommandException {
    try {
      return directory.toRealPath();
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot read the cipher directory",
              directory,
              CommandException.reason(e))
          .causedBy(e);
    }
  }
}
