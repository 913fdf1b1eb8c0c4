package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Posix;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The directory {@code pg_tde} of a cluster: every key file, the providers and the principal-key
 * cache. One process at a time has it open for writing; whoever opens it sees to that.
 *
 * <pre>
 * keys_version      magic of relation key files (4), magic of WAL key files (4)
 * &lt;oid&gt;_keys        {@link RelationKeys}; 1663_keys is the default key, a header alone; 0_keys holds
 *                   the keys of the shared relations in global/, under the server's principal key
 * wal_keys          {@link WalKeys}; its header names the server's principal key
 * pgveil.seal       {@link SealKeys}
 * &lt;oid&gt;_providers   key providers of a database; 1664_providers the global ones
 * *.r               a file that is about to replace another; left by a crash, removed when opened
 * </pre>
 *
 * OIDs in names are printed as signed numbers, as pg_tde does.
 */
public final class KeyDirectory implements AutoCloseable {
  /**
   * How a key directory is opened.
   *
   * @param forbiddenKeyringRoots cipher directory and mount, in which no keyring may lie
   * @param cipher the current cipher setting: a principal key of another length is used, with a
   *     warning
   * @param readOnly nothing is written: files of older versions are read as they are, changes are
   *     refused
   */
  public record Settings(List<Path> forbiddenKeyringRoots, CipherType cipher, boolean readOnly) {
    public Settings {
      forbiddenKeyringRoots = List.copyOf(forbiddenKeyringRoots);
    }

    /** For reading and writing. */
    public Settings(List<Path> forbiddenKeyringRoots, CipherType cipher) {
      this(forbiddenKeyringRoots, cipher, false);
    }
  }

  static final Logger LOG = LoggerFactory.getLogger(KeyDirectory.class);
  private static final String VERSION_FILE = "keys_version";
  private static final Pattern RELATION_FILE = Pattern.compile("(-?\\d{1,10})_keys");

  private final Settings settings;
  private final DurableFiles files;
  private final SecureRandom random = new SecureRandom();
  private final SecretMemory secrets = new SecretMemory();
  private final Providers providers;
  private final ProviderHealth providerHealth = new ProviderHealth();
  private final PrincipalKeys principalKeys;
  private final KeyWatch watch;
  private final ReentrantLock operations = new ReentrantLock();
  private final ReentrantLock headers = new ReentrantLock();
  private final WalKeys walKeys;
  private final SealKeys sealKeys;
  private final RelationKeys defaultKey;
  private final Map<Integer, RelationKeys> relationKeys = new ConcurrentHashMap<>();

  private KeyDirectory(DurableFiles files, Settings settings, List<KeyProviderFactory> factories) {
    this.settings = settings;
    this.files = files;
    this.providers =
        new Providers(
            files,
            factories,
            new KeyProviderFactory.Context(settings.forbiddenKeyringRoots),
            providerHealth);
    this.principalKeys = new PrincipalKeys(this, providers, secrets);
    this.watch = new KeyWatch(this, providers);
    this.walKeys = new WalKeys(this);
    this.sealKeys = new SealKeys(this);
    this.defaultKey = new RelationKeys(this, Scope.DEFAULT);
  }

  /**
   * Makes a new, empty key directory of mode 0700.
   *
   * @throws KeyException if it exists, or cannot be made; then nothing is left of it
   */
  public static KeyDirectory create(Path directory, Settings settings) throws KeyException {
    int r = Posix.mkdirat(Posix.AT_FDCWD, ByteString.of(directory), 0700);
    if (r == -Errno.EEXIST) {
      throw new KeyException(
          Kind.DUPLICATE,
          "key directory " + directory + " exists",
          "open it, or give another place");
    }
    if (r < 0) {
      throw KeyException.io(Kind.IO, "cannot make key directory " + directory, r);
    }
    try {
      syncParent(directory);
      return open(directory, settings);
    } catch (KeyException | RuntimeException e) {
      discard(directory);
      throw e;
    }
  }

  /**
   * Removes a key directory under whose keys nothing has been encrypted yet, so that another can be
   * made in its place. Never touches a keyring. What cannot be removed stays, with a warning.
   */
  public static void discard(Path directory) {
    try {
      try (DurableFiles files = new DurableFiles(directory, (step, name) -> {})) {
        files.remove(files.names());
      }
      int r = Posix.unlinkat(Posix.AT_FDCWD, ByteString.of(directory), Posix.AT_REMOVEDIR);
      if (r < 0) {
        throw KeyException.io(Kind.IO, "cannot remove key directory " + directory, r);
      }
      syncParent(directory);
    } catch (KeyException e) {
      LOG.warn("{}; remove {} before another is made there", e.getMessage(), directory);
    }
  }

  private static void syncParent(Path directory) throws KeyException {
    Path parent = directory.toAbsolutePath().getParent();
    if (parent != null) {
      try (DurableFiles above = new DurableFiles(parent, (step, name) -> {})) {
        above.syncDirectory();
      }
    }
  }

  /**
   * Opens a key directory. Left-over temporary files are removed, and files of older versions are
   * rewritten in the current one, which needs their principal keys.
   */
  public static KeyDirectory open(Path directory, Settings settings) throws KeyException {
    return open(directory, settings, KeyProviderFactory.installed(), (step, name) -> {});
  }

  /** Fails changes of the key files, for tests of those who use them. */
  public interface Faults {
    /**
     * Asked before each change.
     *
     * @param call OPEN, WRITE, FSYNC, RENAME, UNLINK or FSYNC_DIRECTORY
     * @param file name in the key directory; empty for the directory
     * @return -errno, or 0 for no fault
     */
    int before(String call, String file);
  }

  /** As {@link #open(Path, Settings)}, and changes fail when {@code faults} says so. */
  public static KeyDirectory open(Path directory, Settings settings, Faults faults)
      throws KeyException {
    return open(
        directory,
        settings,
        KeyProviderFactory.installed(),
        (step, name) -> {
          int r = faults.before(step.name(), name);
          if (r < 0) {
            boolean sync =
                step == DurableFiles.Step.FSYNC || step == DurableFiles.Step.FSYNC_DIRECTORY;
            throw KeyException.io(sync ? Kind.SYNC_FAILED : Kind.IO, step + " of " + name, r);
          }
        });
  }

  static KeyDirectory open(
      Path directory, Settings settings, List<KeyProviderFactory> factories, DurableFiles.Hook hook)
      throws KeyException {
    KeyDirectory opened = new KeyDirectory(new DurableFiles(directory, hook), settings, factories);
    try {
      opened.prepare();
      return opened;
    } catch (KeyException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  private void prepare() throws KeyException {
    if (settings.readOnly) {
      // who only looks is told what is wrong by the check, not by a refusal
      return;
    }
    byte[] version = files.read(VERSION_FILE);
    if (version != null && version.length < 8) {
      throw new KeyException(
          Kind.CORRUPTED,
          "internal keys version file \"" + files.path(VERSION_FILE) + "\" is corrupted",
          "remove it: it is made anew");
    }
    if (version != null) {
      requireKnown(Bytes.getInt(version, 0), EntryLayout.RELATION_3, EntryLayout.RELATION_4);
      requireKnown(Bytes.getInt(version, 4), EntryLayout.WAL_1, EntryLayout.WAL_2);
    }
    List<String> stale = new ArrayList<>();
    for (String name : files.names()) {
      String target = name.substring(0, Math.max(0, name.length() - 2));
      if (name.endsWith(DurableFiles.TEMPORARY) && isOurs(target)) {
        stale.add(name);
      }
    }
    files.remove(stale);
    // a rename by a daemon that was killed may not be durable yet
    files.syncDirectory();
    byte[] current = new byte[8];
    Bytes.putInt(current, 0, EntryLayout.RELATION_4.magic);
    Bytes.putInt(current, 4, EntryLayout.WAL_2.magic);
    if (version == null || Bytes.getLong(version, 0) != Bytes.getLong(current, 0)) {
      migrate();
      files.replace(VERSION_FILE, current);
    }
  }

  /** Refuses the files of a version that is still to come: rewriting them would damage them. */
  private void requireKnown(int magic, EntryLayout older, EntryLayout current) throws KeyException {
    if (magic == older.magic || magic == current.magic) {
      return;
    }
    String file = "internal keys version file \"" + files.path(VERSION_FILE) + "\"";
    throw EntryLayout.isSameKind(magic, current.magic)
        ? new KeyException(
            Kind.UNKNOWN_VERSION,
            file + " has wrong version",
            "key files of version %d are not known".formatted(EntryLayout.version(magic)))
        : new KeyException(
            Kind.CORRUPTED, file + " is corrupted", "restore it, or remove it: it is made anew");
  }

  private static boolean isOurs(String name) {
    return RELATION_FILE.matcher(name).matches()
        || name.endsWith("_providers")
        || name.equals("wal_keys")
        || name.equals("pgveil.seal")
        || name.equals(VERSION_FILE);
  }

  /** Rewrites each file of an older version under its own principal key (pg_tde format 1.4.4). */
  private void migrate() throws KeyException {
    List<KeyFile> candidates = new ArrayList<>();
    candidates.add(walKeys);
    candidates.add(defaultKey);
    for (int oid : databases()) {
      candidates.add(relationKeys(oid));
    }
    for (KeyFile file : candidates) {
      byte[] content = files.read(file.fileName);
      if (content == null || content.length < 4) {
        continue;
      }
      int magic = Bytes.getInt(content, 0);
      if (magic == EntryLayout.RELATION_4.magic || magic == EntryLayout.WAL_2.magic) {
        continue;
      }
      PrincipalKey principal = file.principal();
      SignedHeader header = file.header();
      if (principal != null && header != null) {
        headers.lock();
        try {
          file.setPrincipal(principal, header.created());
        } finally {
          headers.unlock();
        }
        LOG.info("{} is now of the current version", path(file.fileName));
      }
    }
  }

  /** The internal keys of a database's relations; OID 0 for the shared relations. */
  public RelationKeys relationKeys(int databaseOid) {
    Scope scope = new Scope(databaseOid);
    if (databaseOid != 0 && !scope.isDatabase()) {
      throw new IllegalArgumentException(databaseOid + " is not the OID of a database");
    }
    return relationKeys.computeIfAbsent(databaseOid, oid -> new RelationKeys(this, scope));
  }

  public WalKeys walKeys() {
    return walKeys;
  }

  public SealKeys sealKeys() {
    return sealKeys;
  }

  public PrincipalKeys principalKeys() {
    return principalKeys;
  }

  public ProviderHealth providerHealth() {
    return providerHealth;
  }

  public KeyWatch watch() {
    return watch;
  }

  /** OIDs of the databases that have a key file, 0 for the shared relations, in ascending order. */
  public List<Integer> databases() throws KeyException {
    TreeSet<Integer> oids = new TreeSet<>(Integer::compareUnsigned);
    for (String name : files.names()) {
      var matcher = RELATION_FILE.matcher(name);
      if (matcher.matches()) {
        int oid = (int) Long.parseLong(matcher.group(1));
        if (oid == 0 || new Scope(oid).isDatabase()) {
          oids.add(oid);
        }
      }
    }
    return List.copyOf(oids);
  }

  /**
   * Removes the key file and the providers of a dropped database, durably, and forgets its keys.
   * The caller has made the removal of its relations durable before.
   */
  public void dropDatabase(int databaseOid) throws KeyException {
    requireWritable();
    RelationKeys keys = relationKeys(databaseOid);
    List<KeyProvider> closed;
    headers.lock();
    try {
      keys.writes.lock();
      try {
        files.remove(List.of(keys.fileName, Providers.fileName(keys.scope)));
        keys.forget();
        relationKeys.remove(databaseOid, keys);
        closed = providers.forget(keys.scope);
      } finally {
        keys.writes.unlock();
      }
    } finally {
      headers.unlock();
    }
    // with no lock held: they may be waiting for their servers
    closed.forEach(KeyProvider::close);
  }

  /**
   * Gives memory back while the keys of more than {@code limit} relations are in it: those of
   * databases of which no key was asked for since the last call. They are read again when needed;
   * so none are given back while a principal key cannot be had.
   */
  public void shed(int limit) {
    // a management operation relies on what it has loaded
    if (loadedRelations() > limit && watch.troubles().isEmpty() && operations.tryLock()) {
      try {
        relationKeys.values().forEach(RelationKeys::unloadIfUnused);
      } finally {
        operations.unlock();
      }
    }
  }

  /** Relations whose keys are in memory. */
  public long loadedRelations() {
    return relationKeys.values().stream().mapToLong(RelationKeys::loaded).sum();
  }

  /** Makes every pending change durable: one fsync for each file that has any. */
  public void sync() throws KeyException {
    KeyException first = null;
    for (RelationKeys keys : relationKeys.values()) {
      try {
        if (keys.isPending()) {
          keys.sync();
        }
      } catch (KeyException e) {
        first = first == null ? e : first;
      }
    }
    if (first != null) {
      throw first;
    }
  }

  /** The number of fsync calls so far. */
  public long fsyncs() {
    return files.fsyncs();
  }

  /** Clears every key in memory. Nothing may use the directory any more. */
  @Override
  public void close() {
    providers.close();
    List<KeyFile> all = new ArrayList<>(relationKeys.values());
    all.addAll(List.of(defaultKey, walKeys, sealKeys));
    all.forEach(KeyFile::forget);
    secrets.close();
    files.close();
  }

  // ---- for the other classes of the package ----

  Settings settings() {
    return settings;
  }

  DurableFiles files() {
    return files;
  }

  Path path(String name) {
    return files.path(name);
  }

  SecureRandom random() {
    return random;
  }

  SecretMemory secrets() {
    return secrets;
  }

  Providers providers() {
    return providers;
  }

  ReentrantLock operations() {
    return operations;
  }

  ReentrantLock headers() {
    return headers;
  }

  RelationKeys defaultKey() {
    return defaultKey;
  }

  /** The file whose header names the principal key of a scope. */
  KeyFile keyFile(Scope scope) {
    if (scope.equals(Scope.SERVER)) {
      return walKeys;
    }
    return scope.equals(Scope.DEFAULT) ? defaultKey : relationKeys(scope.oid());
  }

  /**
   * The files under the server's principal key, in the order in which they are re-wrapped. Each
   * names its own principal key, so a crash between them leaves all readable while both keys exist.
   *
   * <p>The seal is born with the server's first principal key and never later: where it is lost,
   * setting a key must not hide that.
   */
  List<KeyFile> serverFiles() throws KeyException {
    List<KeyFile> list = new ArrayList<>();
    if (sealKeys.hasHeader() || !walKeys.hasHeader()) {
      list.add(sealKeys);
    }
    list.add(walKeys);
    RelationKeys shared = relationKeys(0);
    if (shared.hasHeader()) {
      list.add(shared);
    }
    return list;
  }

  /** Every file that has a header, those of the server first. */
  List<KeyFile> keyFiles() throws KeyException {
    List<KeyFile> list = new ArrayList<>();
    for (KeyFile file : List.of(sealKeys, walKeys, defaultKey)) {
      if (file.hasHeader()) {
        list.add(file);
      }
    }
    for (int oid : databases()) {
      RelationKeys keys = relationKeys(oid);
      if (keys.hasHeader()) {
        list.add(keys);
      }
    }
    return list;
  }

  void requireWritable() throws KeyException {
    if (settings.readOnly) {
      throw new KeyException(
          Kind.REFUSED, "key directory " + files.path("") + " was opened for reading only");
    }
  }

  /** A management operation that returns something or nothing. */
  interface Operation<R extends @Nullable Object> {
    R run() throws KeyException;
  }

  /** Runs one management operation at a time. */
  <R extends @Nullable Object> R exclusively(Operation<R> operation) throws KeyException {
    operations.lock();
    try {
      return operation.run();
    } finally {
      operations.unlock();
    }
  }
}
