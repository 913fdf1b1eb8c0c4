package io.pgveil.app.error;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * Every exit code of {@code pgveil}, with its meaning and what to do. Numbers are part of the
 * interface: a released number never changes its meaning. Codes up to 125 only, so that they cannot
 * be mistaken for a shell's or a signal's.
 *
 * <p>{@code pgveil help errors} prints this table, {@code docs/errors.md} holds it.
 */
public enum ExitCode {
  OK(0, "everything asked for was done", "nothing to do"),
  INTERNAL(
      1,
      "a defect in pgveil, or an error that it does not know",
      "run the command again with --debug and report what it prints"),
  USAGE(2, "the command line is wrong", "see 'pgveil help COMMAND'"),

  JDK_UNSUITABLE(
      10,
      "no Java 25 or newer was found",
      "install a JDK 25 and set JAVA_HOME to it; the launcher prints how"),
  NO_FUSE_DEVICE(
      11,
      "/dev/fuse is missing or cannot be opened",
      "load the kernel module with 'modprobe fuse'; in a container add '--device /dev/fuse'"),
  NO_PERMISSION(
      12,
      "the operating system does not allow it to this user",
      "run it as root or as the owner of the object; in a container mounting needs"
          + " '--cap-add SYS_ADMIN'"),
  HELPER_MISSING(
      13,
      "a program that pgveil calls is not installed (fusermount3, setpriv)",
      "install the named package with the package manager"),
  DISK_FULL(
      14,
      "no space is left on the device, or a quota is used up",
      "free some space and run the command again; nothing was lost"),
  IO_ERROR(
      15,
      "the operating system failed to read or write a file",
      "see the kernel log for the device; restore the file from a backup if it is damaged"),

  KEYRING_MISSING(
      20,
      "a keyring file does not exist or cannot be read",
      "put the keyring back to the path named, or name its new place with 'pgveil provider change'"),
  KEYRING_EXPOSED(
      21,
      "a keyring or credential file can be read or written by others than its owner",
      "chmod 600 the file, and think about who has read it until now"),
  KEYRING_INSIDE(
      22,
      "a keyring or credential file lies inside the cipher directory or the mount",
      "move the file to another place, best to another device"),
  KEYRING_DAMAGED(
      23,
      "a keyring file, or a key in a key provider, is truncated or garbled",
      "restore the keyring or the key from its backup"),
  PRINCIPAL_KEY_NOT_FOUND(
      24,
      "the key provider has no principal key of the name that the cluster needs",
      "give the provider the keyring or the server that holds this key"),
  PRINCIPAL_KEY_WRONG(
      25,
      "the key provider returned other bytes than the principal key that was in use",
      "give the provider the right keyring, or restore the key file named if that is damaged;"
          + " nothing was changed"),
  PROVIDER_UNREACHABLE(
      26,
      "a key provider does not answer, or not so that it can be understood",
      "make the provider reachable, or change its address with 'pgveil provider change'"),
  PROVIDER_UNKNOWN(
      27, "there is no key provider of this name or type", "see 'pgveil provider list'"),
  KEY_REFUSED(
      28,
      "the key or provider cannot be created, set, changed or deleted as things are",
      "see the reason; nothing was changed"),
  PROVIDER_REFUSED(
      29,
      "a key provider cannot be used with its settings: address, certificates, token or what these"
          + " allow",
      "see the reason; put a valid token or certificate into its file, or correct the settings with"
          + " 'pgveil provider change'"),

  CIPHER_DIR_MISSING(
      30,
      "the cipher directory does not exist",
      "check the path, or make a cipher directory with 'pgveil init'"),
  CIPHER_DIR_FOREIGN(
      31,
      "the directory is not a cipher directory of pgveil",
      "check the path, or make a cipher directory with 'pgveil init' in an empty directory"),
  CIPHER_DIR_NOT_EMPTY(
      32,
      "a new cipher directory was to be made in a directory that is not empty",
      "name an empty or a new directory"),
  PLAIN_POSTGRES(
      33,
      "the directory is a data directory of plain PostgreSQL, not encrypted",
      "make a new cipher directory with 'pgveil init' and load a backup or a dump through its mount"),
  PG_TDE_CLUSTER(
      34,
      "the directory is a data directory of PostgreSQL with pg_tde, only partly encrypted",
      "make a new cipher directory with 'pgveil init' and load a backup or a dump through its mount"),
  ALREADY_SERVED(
      35,
      "another pgveil process works on this cipher directory",
      "use that one, or end it with 'pgveil umount'"),
  DAEMON_UNREACHABLE(
      36,
      "the daemon that serves the cipher directory does not answer",
      "look into its log; 'pgveil umount' and 'pgveil mount' start it anew"),
  KEY_FILE_DAMAGED(
      37,
      "a file of the key directory pg_tde/ is truncated or garbled",
      "restore pg_tde/ from the backup of the cipher directory; do not delete the file"),
  SEAL_DAMAGED(
      38,
      "pg_tde/pgveil.seal is missing, truncated or garbled",
      "restore pg_tde/pgveil.seal from the backup of the cipher directory; do not delete it"),
  SEALED_FILE_DAMAGED(
      39,
      "the header of a sealed file is truncated or garbled",
      "restore the file named from a backup"),
  VERSION_UNKNOWN(
      40,
      "a file was written in a format version that this pgveil does not know",
      "use a newer pgveil"),
  TORN_PAGES_POSSIBLE(
      41,
      "the cluster has neither data checksums nor wal_log_hints, or full_page_writes is off: a power"
          + " cut could damage encrypted pages unseen",
      "set wal_log_hints = on and full_page_writes = on, or enable checksums with pg_checksums, or"
          + " take the risk with --accept-torn-pages"),

  MOUNT_POINT_MISSING(
      50,
      "the mount point does not exist or is no directory",
      "make the directory, or check the path"),
  MOUNT_POINT_NOT_EMPTY(
      51,
      "the mount point holds files, which the mount would hide",
      "name an empty directory as the mount point"),
  MOUNT_POINT_BUSY(
      52,
      "the mount point is in use: something is mounted there, or has files open there",
      "stop PostgreSQL, leave the directory with every shell, and try again"),
  NOT_MOUNTED(
      53,
      "no pgveil file system is mounted there",
      "check the path; 'pgveil status' tells the mount point"),
  MOUNT_FAILED(
      54, "the kernel refused the mount for another reason", "see the reason and the kernel log"),

  POSTGRES_MISSING(
      60,
      "the PostgreSQL binaries (initdb, postgres) were not found",
      "name a directory that holds them with --pg-bindir, or let './pgveil' build first"),
  POSTGRES_MISMATCH(
      61,
      "the PostgreSQL binaries are of another major version than the data directory",
      "use binaries of the data directory's version with --pg-bindir or --pg-version"),
  POSTGRES_FAILED(
      62, "PostgreSQL or initdb ended with an error", "see the PostgreSQL log that is named"),
  RUN_AS_UNSUITABLE(
      63,
      "the operating-system user for PostgreSQL does not exist or is root",
      "name an existing ordinary user with --run-as"),
  PORT_IN_USE(64, "the TCP port is already in use", "name another port with --port"),

  FINDINGS(
      70,
      "verify found something wrong, all of which it has printed",
      "see each finding; restore what is damaged from a backup"),
  DEMO_FAILED(
      71,
      "a check of the demo did not give the expected result",
      "see the table of checks; run the demo with --keep to look at the files");

  private final int code;
  private final String meaning;
  private final String remedy;

  ExitCode(int code, String meaning, String remedy) {
    this.code = code;
    this.meaning = meaning;
    this.remedy = remedy;
  }

  public int code() {
    return code;
  }

  /** What happened, as part of a sentence. */
  public String meaning() {
    return meaning;
  }

  /** What the user can do about it. */
  public String remedy() {
    return remedy;
  }

  /** The name in documents: lower case with hyphens. */
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** The table as text for a terminal. */
  public static String table() {
    return Arrays.stream(values())
        .map(
            c ->
                "%4d  %s%n      %s%n      remedy: %s%n"
                    .formatted(c.code, c.label(), c.meaning, c.remedy))
        .collect(Collectors.joining());
  }

  /** The table as it stands in {@code docs/errors.md}. */
  public static String markdown() {
    StringBuilder out = new StringBuilder();
    out.append(
        """
        # Exit codes and errors

        Every command of pgveil ends with one of these codes. On an error it prints one block to standard
        error and changes nothing:

            pgveil: WHAT FAILED: OBJECT: REASON
            remedy: WHAT TO DO

        A stack trace is printed only with `--debug`. Made by `pgveil help errors --markdown`.

        | code | name | meaning | remedy |
        | ---: | --- | --- | --- |
        """);
    for (ExitCode c : values()) {
      out.append("| %d | %s | %s | %s |\n".formatted(c.code, c.label(), c.meaning, c.remedy));
    }
    return out.toString();
  }
}
