package io.pgveil.app.storage;

import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.datadir.DataDirectoryException;
import io.pgveil.fuse.MountException;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.ListProviders;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.Scope;
import io.pgveil.linux.Errno;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Gives the failures of the floors below their exit codes. */
final class Failures {
  private static final String FILE = "file";

  private Failures() {}

  /**
   * A key operation failed.
   *
   * @param keys where the providers are known, to tell a missing keyring from a missing key
   */
  static CommandException of(String what, KeyException e, @Nullable KeyDirectory keys) {
    return of(what, e, () -> keyrings(keys));
  }

  /** A provider cannot be changed: its old place may be gone, it is the new one that matters. */
  static CommandException atNewPlace(
      String what, KeyException e, String type, Map<String, String> options) {
    return of(what, e, () -> keyrings(Stream.of(options).filter(o -> type.equals(FILE))));
  }

  private static CommandException of(String what, KeyException e, Supplier<List<Path>> keyrings) {
    return switch (e.kind()) {
      case KEY_NOT_FOUND, PROVIDER_FAILED, INSECURE -> keyring(what, e, keyrings);
      case INVALID_ARGUMENT, NULL_ARGUMENT, DUPLICATE, IN_USE, REFUSED, NOT_CONFIGURED ->
          make(ExitCode.KEY_REFUSED, what, e);
      case INVALID_TYPE, NO_SUCH_PROVIDER -> make(ExitCode.PROVIDER_UNKNOWN, what, e);
      case NO_SUCH_KEY -> make(ExitCode.PRINCIPAL_KEY_NOT_FOUND, what, e);
      case WRONG_KEY -> make(ExitCode.PRINCIPAL_KEY_WRONG, what, e);
      case CORRUPTED -> {
        if (e.getCause() instanceof ProviderException) {
          yield make(ExitCode.KEYRING_DAMAGED, what, e);
        }
        yield String.valueOf(e.getMessage()).contains("pgveil.seal")
            ? make(ExitCode.SEAL_DAMAGED, what, e)
            : make(ExitCode.KEY_FILE_DAMAGED, what, e);
      }
      case UNKNOWN_VERSION -> make(ExitCode.VERSION_UNKNOWN, what, e);
      case IO, SYNC_FAILED -> make(io(e.errno()), what, e);
    };
  }

  private static ExitCode io(int errno) {
    return switch (Math.abs(errno)) {
      case Errno.ENOSPC, Errno.EDQUOT -> ExitCode.DISK_FULL;
      case Errno.EACCES, Errno.EPERM, Errno.EROFS -> ExitCode.NO_PERMISSION;
      default -> ExitCode.IO_ERROR;
    };
  }

  /** A key could not be had: the keyring itself may be the reason. */
  private static CommandException keyring(
      String what, KeyException e, Supplier<List<Path>> keyrings) {
    if (e.getCause() instanceof ProviderException p) {
      if (p.code() == ProviderException.Code.MISSING) {
        return new CommandException(
                ExitCode.KEYRING_MISSING,
                what + ": " + e.getMessage(),
                "make the directory of the keyring, mount the device that holds it, or name a"
                    + " keyring in a directory that exists")
            .causedBy(e);
      }
      return make(
          switch (p.code()) {
            case INSECURE -> ExitCode.KEYRING_EXPOSED;
            case MISPLACED -> ExitCode.KEYRING_INSIDE;
            case CORRUPTED, INVALID_KEY -> ExitCode.KEYRING_DAMAGED;
            case NO_SPACE -> ExitCode.DISK_FULL;
            case EXISTS, RETIRED -> ExitCode.KEY_REFUSED;
            case MISSING -> ExitCode.KEYRING_MISSING;
            case REFUSED -> ExitCode.PROVIDER_REFUSED;
            case UNAVAILABLE, INVALID_RESPONSE -> ExitCode.PROVIDER_UNREACHABLE;
          },
          what,
          e);
    }
    for (Path keyring : keyrings.get()) {
      if (!Files.exists(keyring)) {
        return new CommandException(
                ExitCode.KEYRING_MISSING,
                what + ": " + keyring + ": the keyring is missing; " + e.getMessage(),
                ExitCode.KEYRING_MISSING.remedy())
            .causedBy(e);
      }
    }
    return make(
        e.kind() == KeyException.Kind.KEY_NOT_FOUND
            ? ExitCode.PRINCIPAL_KEY_NOT_FOUND
            : ExitCode.PROVIDER_UNREACHABLE,
        what,
        e);
  }

  private static List<Path> keyrings(@Nullable KeyDirectory keys) {
    if (keys == null) {
      return List.of();
    }
    try {
      return keyrings(
          new ListProviders(Scope.SERVER)
              .run(keys).stream()
                  .filter(p -> p.type().equals(FILE))
                  .map(p -> KeyCommands.options(p.options())));
    } catch (KeyException | RuntimeException e) {
      return List.of();
    }
  }

  private static List<Path> keyrings(Stream<Map<String, String>> options) {
    return options.map(o -> o.get("path")).filter(Objects::nonNull).map(Path::of).toList();
  }

  private static CommandException make(ExitCode code, String what, Exception e) {
    return new CommandException(code, what + ": " + e.getMessage(), code.remedy()).causedBy(e);
  }

  static CommandException of(String what, DataDirectoryException e) {
    ExitCode code =
        switch (e.problem()) {
          case MISSING -> ExitCode.CIPHER_DIR_MISSING;
          case ALREADY_SERVED -> ExitCode.ALREADY_SERVED;
          case UNSAFE_SETTINGS -> ExitCode.TORN_PAGES_POSSIBLE;
          case UNKNOWN_VERSION -> ExitCode.VERSION_UNKNOWN;
          case KEYS -> ExitCode.KEY_FILE_DAMAGED;
          case NOT_A_CIPHER_DIRECTORY -> ExitCode.CIPHER_DIR_FOREIGN;
          case PLAIN_POSTGRESQL -> ExitCode.PLAIN_POSTGRES;
          case PG_TDE_CLUSTER -> ExitCode.PG_TDE_CLUSTER;
          case SEALED_FILE -> ExitCode.SEALED_FILE_DAMAGED;
          case IO -> io(e.errno());
        };
    return make(code, what, e);
  }

  static CommandException of(String what, MountException e) {
    ExitCode code =
        switch (e.kind()) {
          case NO_DEVICE -> ExitCode.NO_FUSE_DEVICE;
          case NO_PERMISSION -> ExitCode.NO_PERMISSION;
          case MOUNT_POINT_MISSING -> ExitCode.MOUNT_POINT_MISSING;
          case MOUNT_POINT_NOT_EMPTY -> ExitCode.MOUNT_POINT_NOT_EMPTY;
          case MOUNT_POINT_BUSY, IN_USE -> ExitCode.MOUNT_POINT_BUSY;
          case FUSERMOUNT_MISSING -> ExitCode.HELPER_MISSING;
          case MOUNT_POINT_STALE, KERNEL_TOO_OLD, OTHER -> ExitCode.MOUNT_FAILED;
        };
    return make(code, what, e);
  }
}
