package io.pgveil.datadir;

import io.pgveil.ciphers.SealedCipher;
import io.pgveil.ciphers.SealedHeader;
import io.pgveil.ciphers.SealedKeys;
import io.pgveil.fuse.FileSystem;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.SealKeys;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An encrypted data directory that is being served: keys, WAL stream, views. One process holds it
 * at a time (hazard 16): the lock on {@code pg_tde/pgveil.lock} is held from {@link #open} until
 * {@link #close}, which comes after the last request.
 */
public final class DataDirectory implements AutoCloseable {
  private static final int MOST_ORPHAN_LOOKS = 10;
  private static final Logger log = LoggerFactory.getLogger(DataDirectory.class);

  /** Name of the key directory below the cipher directory. */
  public static final String KEY_DIRECTORY = "pg_tde";

  private static final String STAGED = "pgveil.staged.";

  /** Offset of the cluster state in pg_control (ControlFileData.state), a u32. */
  private static final int CONTROL_STATE_OFFSET = 16;

  private static final int DB_IN_CRASH_RECOVERY = 4;
  private static final int DB_IN_ARCHIVE_RECOVERY = 5;

  /**
   * Sizes that a test makes small.
   *
   * @param idleFiles descriptors kept of files that nobody has open
   * @param idleWrittenFiles as well, of those with something to sync
   * @param housekeepingMillis between two rounds of {@link #housekeeping}, 0 for none
   * @param nodes that are kept for the kernel in each view before it is asked to forget some
   * @param relations whose keys, and numbers of files, are kept of databases that nobody uses
   */
  record Tuning(
      int idleFiles, int idleWrittenFiles, long housekeepingMillis, int nodes, int relations) {
    private static final int MOST_WRITTEN = 8192;

    static final Tuning DEFAULT = new Tuning(512, mostWritten(), 2000);

    Tuning(int idleFiles, int idleWrittenFiles, long housekeepingMillis) {
      this(idleFiles, idleWrittenFiles, housekeepingMillis, 100_000, 50_000);
    }

    /** A part of the descriptors that this process may have. */
    private static int mostWritten() {
      long descriptors = Posix.getrlimit(Posix.RLIMIT_NOFILE)[1];
      return descriptors < 0 ? MOST_WRITTEN : Math.clamp(descriptors / 8, 64, MOST_WRITTEN);
    }
  }

  /**
   * How to serve.
   *
   * @param mountPoint where the clear view will be; links that lead there are our own
   * @param cipher of new internal keys
   * @param walEncryption overrides {@code pg_tde.wal_encrypt}, null to follow it
   * @param tablespaces directories outside that hold tablespaces
   * @param allowTornPages serve a cluster that hazard 10 refuses
   * @param backing the file system below
   */
  public record Options(
      Path mountPoint,
      CipherType cipher,
      @Nullable Boolean walEncryption,
      List<Tablespace> tablespaces,
      boolean allowTornPages,
      Backing backing) {

    public static Options of(Path mountPoint, CipherType cipher) {
      return new Options(mountPoint, cipher, null, List.of(), false, new Backing());
    }
  }

  /**
   * A tablespace outside the data directory.
   *
   * @param mountPoint its clear view: the LOCATION of CREATE TABLESPACE
   * @param cipherDirectory where its encrypted files are
   */
  public record Tablespace(Path mountPoint, Path cipherDirectory) {}

  /** A clear view to be mounted. */
  public record ServedView(Path mountPoint, FileSystem fileSystem) {}

  private final Path cipherDirectory;
  private final Options options;
  private final Tuning tuning;
  private final KeyDirectory keys;
  private final Backing backing;
  private final int rootFd;
  private final RelationFiles relations;
  private final WalStream wal;
  private final View mainView;
  private final Map<View, Path> views = new LinkedHashMap<>();
  private final ScheduledExecutorService reaper;

  /** Files with pages that wait for a durable key, and some that have none any more. */
  private final Set<OpenFile> waiting = ConcurrentHashMap.newKeySet();

  private final SecureRandom random = new SecureRandom();
  private final AtomicLong staged = new AtomicLong();
  private final DeferredPages.Budget deferredBudget =
      new DeferredPages.Budget(16 << 20, this::housekeepingSoon);

  // key of this daemon run, for what need not be read after it
  private final byte[] spillKeyId = new byte[16];
  private final byte[] spillKey = new byte[32];

  private volatile boolean postmasterPid;
  private volatile boolean syncedForThisPid;
  private volatile boolean lookForOrphanKeys;

  /** Guarded by the reaper, which ends before {@link #close} looks. */
  private int orphanLooks;

  // guarded by this
  private int controlState = -1;
  private boolean pidRewritten;
  private boolean lookedForOrphanKeys;

  private DataDirectory(
      Path cipherDirectory, Options options, Tuning tuning, KeyDirectory keys, int rootFd)
      throws DataDirectoryException {
    this.cipherDirectory = cipherDirectory;
    this.options = options;
    this.tuning = tuning;
    this.keys = keys;
    this.backing = options.backing();
    this.rootFd = rootFd;
    random.nextBytes(spillKeyId);
    random.nextBytes(spillKey);
    relations = new RelationFiles(keys, options.cipher(), backing);
    try {
      wal = new WalStream(keys.walKeys(), options.cipher(), this::walEncryption, () -> {});
    } catch (KeyException e) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.KEYS, Errno.EIO, e.getMessage(), e);
    }
    mainView = new View(this, rootFd, Place.DATA_DIRECTORY);
    views.put(mainView, absolute(options.mountPoint()));
    for (Tablespace t : options.tablespaces()) {
      int fd = openDirectory(t.cipherDirectory());
      views.put(new View(this, fd, Place.TABLESPACE_VIEW), absolute(t.mountPoint()));
    }
    postmasterPid = backing.statat(rootFd, "postmaster.pid", new Stat()) == 0;
    removeStaged();
    learnSegmentSize();
    reaper =
        Executors.newSingleThreadScheduledExecutor(
            r -> {
              Thread t = new Thread(() -> flushing(r), "pgveil-reaper");
              t.setDaemon(true);
              return t;
            });
    long millis = tuning.housekeepingMillis();
    if (millis > 0) {
      var _ =
          reaper.scheduleWithFixedDelay(this::housekeeping, millis, millis, TimeUnit.MILLISECONDS);
    }
  }

  /**
   * Runs {@code work} as who writes for others: with the locks that it holds it must not wait for
   * write-back that only we can do. Needs CAP_SYS_RESOURCE, as for the workers of the mount.
   */
  private static void flushing(Runnable work) {
    Posix.prctl(Posix.PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    work.run();
  }

  /**
   * Opens a cipher directory for serving.
   *
   * @throws DataDirectoryException it is missing, or a cluster that cannot be served safely
   */
  public static DataDirectory open(Path cipherDirectory, KeyDirectory keys, Options options)
      throws DataDirectoryException {
    return open(cipherDirectory, keys, options, Tuning.DEFAULT);
  }

  static DataDirectory open(Path cipherDirectory, KeyDirectory keys, Options options, Tuning tuning)
      throws DataDirectoryException {
    int rootFd = openDirectory(cipherDirectory);
    DataDirectory d;
    try {
      d = new DataDirectory(cipherDirectory, options, tuning, keys, rootFd);
    } catch (DataDirectoryException | RuntimeException e) {
      Posix.close(rootFd);
      throw e;
    }
    try {
      d.refuseUnsafeCluster();
      return d;
    } catch (DataDirectoryException e) {
      d.close();
      throw e;
    }
  }

  private static int openDirectory(Path directory) throws DataDirectoryException {
    int fd = Posix.open(ByteString.of(directory), Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    if (fd < 0) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.MISSING,
          "cipher directory " + directory + ": " + Errno.describe(fd));
    }
    return fd;
  }

  private static Path absolute(Path p) {
    return p.toAbsolutePath().normalize();
  }

  /** The clear views, the data directory's first. */
  public List<ServedView> views() {
    return views.entrySet().stream().map(e -> new ServedView(e.getValue(), e.getKey())).toList();
  }

  /** The clear view of the data directory. */
  public FileSystem fileSystem() {
    return mainView;
  }

  /**
   * What pg_control says; null before initdb.
   *
   * @throws DataDirectoryException it cannot be read or is not of a layout that is known: whether
   *     the cluster can be served safely is not known either
   */
  public @Nullable ControlData controlData() throws DataDirectoryException {
    byte[] control;
    try {
      control = readClear("global/pg_control");
    } catch (IOException e) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.SEALED_FILE,
          Errno.EIO,
          cipherDirectory.resolve("global/pg_control")
              + ": its sealed header is garbled, or its seal key is not known ("
              + e.getMessage()
              + ")",
          e);
    }
    if (control == null || control.length == 0) {
      return null;
    }
    ControlData data = ControlData.parse(control);
    if (data == null) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.SEALED_FILE,
          cipherDirectory.resolve("global/pg_control")
              + ": its "
              + control.length
              + " bytes are not those of PostgreSQL 14 to 18");
    }
    return data;
  }

  private void refuseUnsafeCluster() throws DataDirectoryException {
    ControlData c = controlData();
    if (c == null) {
      return;
    }
    if (c.blockSize() != RelationContent.PAGE
        || c.segmentPages() != RelationFile.PAGES_PER_SEGMENT) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.UNSAFE_SETTINGS,
          cipherDirectory
              + " holds a cluster with pages of "
              + c.blockSize()
              + " bytes and segments of "
              + c.segmentPages()
              + " pages; pgveil serves PostgreSQL's default of 8192 and 131072 only");
    }
    wal.learnSegmentSize(c.walSegmentSize());
    String risk = c.tornPageRisk();
    if (risk == null) {
      return;
    }
    if (!options.allowTornPages()) {
      throw new DataDirectoryException(
          DataDirectoryException.Problem.UNSAFE_SETTINGS,
          "the cluster in "
              + cipherDirectory
              + " could be damaged by a power cut under encryption: "
              + risk
              + "; to serve it all the same, say --accept-torn-pages");
    }
    log.warn("torn pages may damage this cluster: {}", risk);
  }

  /** The key directory that this data directory uses. */
  public KeyDirectory keys() {
    return keys;
  }

  public Path cipherDirectory() {
    return cipherDirectory;
  }

  /** Finishes what is pending and gives the lock back; no request may come any more. */
  @Override
  public void close() {
    reaper.shutdown();
    try {
      reaper.awaitTermination(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    views.keySet().forEach(View::closeAll);
    endOrphanKeys();
    relations.reap();
    try {
      keys.sync();
    } catch (KeyException e) {
      log.error("key files cannot be synced: {}", e.getMessage());
    }
    wal.close();
    Arrays.fill(spillKey, (byte) 0);
    views.keySet().forEach(v -> Posix.close(v.rootFd()));
  }

  /** Pages of {@code file} wait for its key. */
  void waiting(OpenFile file) {
    waiting.add(file);
  }

  /**
   * Makes all keys durable and writes all pages that waited for them. What fails is logged,
   * reported to whoever syncs the file (see {@link OpenFile#flush}), and tried again. The caller
   * holds no content lock.
   */
  void writeWaiting() {
    if (waiting.isEmpty()) {
      return;
    }
    try {
      keys.sync();
    } catch (KeyException e) {
      log.error("key files cannot be synced, pages go on waiting: {}", e.getMessage());
      return;
    }
    for (OpenFile f : List.copyOf(waiting)) {
      waiting.remove(f);
      int r = f.flush();
      if (r < 0) {
        log.error("pages of {}: {}", f.relation, Errno.describe(r));
        waiting.add(f);
      }
    }
  }

  /** Too much waits for durable keys, or too many nodes are kept. */
  void housekeepingSoon() {
    try {
      reaper.execute(this::housekeeping);
    } catch (RejectedExecutionException e) {
      // it ends, and writes everything
    }
  }

  /**
   * Writes what waits for durable keys, ends the keys of files that are durably gone, and gives
   * memory back.
   */
  void housekeeping() {
    try {
      writeWaiting();
      endOrphanKeys();
      relations.reap();
      relations.shed(tuning.relations());
      keys.shed(tuning.relations());
      views.keySet().forEach(View::forgetNames);
    } catch (RuntimeException e) {
      // a scheduled task that throws is never run again
      log.error("housekeeping: {}", e.getMessage(), e);
    }
  }

  /**
   * In the beginning of each daemon, and not before PostgreSQL has started: until then someone may
   * still be putting files back. Until a look finds nothing, for recovery may make and remove
   * directories meanwhile.
   */
  private void endOrphanKeys() {
    if (!lookForOrphanKeys) {
      return;
    }
    boolean again = ++orphanLooks < MOST_ORPHAN_LOOKS;
    try {
      OrphanKeys orphans = new OrphanKeys(keys, relations);
      for (View v : views.keySet()) {
        Place root = v == mainView ? Place.DATA_DIRECTORY : Place.TABLESPACE_VIEW;
        orphans.look(v.rootFd(), ".", root, (place, name) -> resolve(place.directory(name), v));
      }
      again &= orphans.end(t -> leadsElsewhere(t));
    } catch (DataDirectoryException | KeyException e) {
      log.warn("keys whose files a crash has taken stay for now: {}", e.getMessage());
    }
    lookForOrphanKeys = again;
  }

  /** Whether a link in pg_tblspc leads to a tablespace that no view serves. */
  private boolean leadsElsewhere(int tablespace) {
    Stat s = new Stat();
    return backing.statat(rootFd, "pg_tblspc/" + Integer.toUnsignedString(tablespace), s) == 0
        && !s.isDirectory();
  }

  // ---- used by the view ----

  Backing backing() {
    return backing;
  }

  Tuning tuning() {
    return tuning;
  }

  RelationFiles relations() {
    return relations;
  }

  /** A place whose tablespace is known; see {@link Place#UNRESOLVED}. */
  Place resolve(Place place, View view) {
    boolean unresolved =
        view != mainView
            && place.tablespace() == Place.UNRESOLVED
            && (place.role() == Place.Role.DATABASE
                || place.role() == Place.Role.TABLESPACE_VERSION);
    return unresolved ? new Place(place.role(), tablespaceOf(view), place.database()) : place;
  }

  /** The OID under which pg_tblspc links to the view's mount point, UNRESOLVED if none does. */
  private int tablespaceOf(View view) {
    Path mountPoint = views.get(view);
    try (Arena arena = Arena.ofConfined()) {
      long buffer = arena.allocate(4096).address();
      for (String name : list("pg_tblspc")) {
        int n = Posix.readlinkat(rootFd, "pg_tblspc/" + name, buffer, 4096);
        if (n > 0) {
          Path target = Path.of(ByteString.toText(Memory.getString(buffer, n))).normalize();
          if (target.equals(mountPoint)) {
            return RelationFile.parseOid(name);
          }
        }
      }
    } catch (DataDirectoryException e) {
      log.error("pg_tblspc: {}", e.getMessage());
    }
    return Place.UNRESOLVED;
  }

  /** Whether the name is one of our own that the view does not show. */
  boolean isHidden(View view, Node parent, String name) {
    return name.startsWith("pgveil.")
        && ((view != mainView && view.isRoot(parent) && name.startsWith(STAGED))
            || (parent.directoryPlace().role() == Place.Role.KEYS
                && (name.startsWith(STAGED) || name.equals("pgveil.lock"))));
  }

  /** Whether the name is ours to make and to remove. */
  boolean isReserved(View view, Node parent, String name) {
    return view.isRoot(parent)
        && (view == mainView ? name.equals(KEY_DIRECTORY) : name.startsWith(STAGED));
  }

  /**
   * Whether a symbolic link may be made. A link from where PostgreSQL keeps data to a place that no
   * view of ours serves would let data out in the clear (hazard 14).
   */
  boolean mayLink(Node parent, String name, String target) {
    Place place = parent.directoryPlace();
    boolean leadsData =
        switch (place.role()) {
          case ROOT -> name.startsWith("pg_") || name.equals("base") || name.equals("global");
          case OTHER -> false;
          default -> true;
        };
    if (!leadsData || isServed(target)) {
      return true;
    }
    log.error(
        "symbolic link {} -> {} is refused: no view of pgveil serves that place, data would be"
            + " written there in the clear; use a directory below {} (allow_in_place_tablespaces),"
            + " or serve it with \"pgveil tablespace add\"",
        name,
        ByteString.toText(target),
        options.mountPoint());
    return false;
  }

  private boolean isServed(String target) {
    if (!target.startsWith("/")) {
      return !target.contains("..");
    }
    Path t = Path.of(ByteString.toText(target)).normalize();
    return views.values().stream().anyMatch(t::startsWith);
  }

  void nameAdded(View view, Node parent, String name) {
    if (view == mainView && view.isRoot(parent) && name.equals("postmaster.pid")) {
      postmasterPid = true;
      syncedForThisPid = false;
      wal.beginRun("postmaster.pid was created");
    }
  }

  void nameRemoved(View view, Node parent, String name) {
    if (view == mainView && view.isRoot(parent) && name.equals("postmaster.pid")) {
      postmasterPid = false;
      wal.beginRun("WAL is written without a server");
    }
  }

  /** Something was written; run borders hang on two files. */
  void written(View view, Node n, long offset, int size, long address) {
    Node.Name name = n.name();
    if (offset != 0 || name == null || view != mainView) {
      return;
    }
    String s = name.name();
    if (s.equals("pg_control") && size >= CONTROL_STATE_OFFSET + 4) {
      controlWritten(size, address);
    } else if (s.equals("postmaster.pid") && view.isRoot(name.parent()) && size > 0) {
      pidWritten(Memory.getByte(address) == '-');
    }
  }

  /**
   * A run begins when recovery does. A standby writes the state of archive recovery again with each
   * restartpoint and buffer flush, so only a change counts, or the same state once more after
   * postmaster.pid was rewritten: that is what a crash restart does first.
   */
  private synchronized void controlWritten(int size, long address) {
    int state = Memory.getInt(address + CONTROL_STATE_OFFSET);
    boolean recovery = state == DB_IN_CRASH_RECOVERY || state == DB_IN_ARCHIVE_RECOVERY;
    if (recovery && (state != controlState || pidRewritten)) {
      pidRewritten = false;
      wal.beginRun("pg_control says recovery");
    } else if (!postmasterPid) {
      wal.beginRun("pg_control was written without a server");
    }
    controlState = state;
    if (size >= ControlData.SIZE) {
      byte[] control = new byte[ControlData.SIZE];
      Memory.copyOut(address, control, 0, control.length);
      ControlData c = ControlData.parse(control);
      if (c != null) {
        wal.learnSegmentSize(c.walSegmentSize());
      }
    }
  }

  private synchronized void pidWritten(boolean standalone) {
    pidRewritten = true;
    if (syncedForThisPid || standalone) {
      return;
    }
    // a tool may have "synced" the mount by syncfs, which never reaches us (hazard 12)
    syncedForThisPid = true;
    lookForOrphanKeys = !lookedForOrphanKeys;
    lookedForOrphanKeys = true;
    int r = backing.syncfs(rootFd);
    if (r < 0) {
      log.error("syncfs of {}: {}", cipherDirectory, Errno.describe(r));
    }
  }

  void databaseDirectoryRemoved(int viewRootFd, String parentPath, Place place) {
    relations.directoryRemoved(viewRootFd, parentPath, place);
  }

  /** Path, from the view's root, for a file that will be renamed to its place when complete. */
  String stagingName(View view) {
    // below the view's own root: a rename does not cross file systems
    return (view == mainView ? KEY_DIRECTORY + "/" : "") + STAGED + staged.incrementAndGet();
  }

  private void removeStaged() throws DataDirectoryException {
    for (View v : views.keySet()) {
      String directory = v == mainView ? KEY_DIRECTORY : ".";
      for (String n : list(v.rootFd(), directory)) {
        if (n.startsWith(STAGED)) {
          backing.unlinkat(v.rootFd(), directory + "/" + n, 0);
        }
      }
    }
  }

  private void learnSegmentSize() throws DataDirectoryException {
    for (String n : list("pg_wal")) {
      WalFileName f = WalFileName.parse(n);
      Stat s = new Stat();
      if (f != null && !f.partial() && backing.statat(rootFd, "pg_wal/" + n, s) == 0) {
        wal.learnSegmentSize(s.size);
        if (wal.segmentSize() != 0) {
          return;
        }
      }
    }
  }

  private List<String> list(String path) throws DataDirectoryException {
    return list(rootFd, path);
  }

  private static List<String> list(int directoryFd, String path) throws DataDirectoryException {
    List<String> names = new ArrayList<>();
    int fd = Posix.openat(directoryFd, path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
    if (fd == -Errno.ENOENT || fd == -Errno.ENOTDIR) {
      return names;
    }
    if (fd < 0) {
      throw new DataDirectoryException(-fd, path + ": " + Errno.describe(fd));
    }
    try {
      RelationFiles.DirectoryScan.forEach(fd, (name, type, ino) -> names.add(name));
    } finally {
      Posix.close(fd);
    }
    return names;
  }

  // ---- contents ----

  /**
   * The content of a file of this kind over {@code fd}; {@code size} is that on disk.
   *
   * @param directory of a stored relation
   */
  Content content(
      FileKind kind,
      @Nullable RelationFile file,
      RelationFiles.@Nullable Directory directory,
      String name,
      int fd,
      long size)
      throws DataDirectoryException {
    return switch (kind) {
      case RELATION, TEMP_RELATION -> {
        if (file == null) {
          throw new IllegalArgumentException(name);
        }
        RelationContent c =
            new RelationContent(
                backing, fd, size, file, relations.keysOf(file, directory), deferredBudget);
        c.resolveKey();
        yield c;
      }
      case WAL_SEGMENT -> {
        WalFileName w = WalFileName.parse(name);
        if (w == null) {
          throw new IllegalArgumentException(name);
        }
        yield new WalContent(backing, fd, size, wal, name, w);
      }
      case WAL_TEMPORARY -> {
        byte[] key = new byte[64];
        random.nextBytes(key);
        yield new WalTemporaryContent(
            backing,
            fd,
            size,
            new CipherPool<>(() -> new SealedCipher(key), () -> Arrays.fill(key, (byte) 0)),
            size == 0);
      }
      case SPILL -> new SealedContent(backing, fd, size, name, false, spillKeys);
      case SEALED -> new SealedContent(backing, fd, size, name, true, sealedKeys);
      case KEY_FILE -> new KeyFileContent(backing, fd, size);
    };
  }

  private final SealedContent.Keys sealedKeys =
      new SealedContent.Keys() {
        @Override
        public SealedContent.NewFile newFile() throws DataDirectoryException {
          SealKeys seal = keys.sealKeys();
          try {
            byte[] id = seal.activeId();
            byte[] key = seal.copyKey(id);
            if (key == null) {
              throw new DataDirectoryException(
                  DataDirectoryException.Problem.KEYS, "there is no active seal key");
            }
            return newSealedFile(id, key);
          } catch (KeyException e) {
            throw DataDirectoryException.of(e);
          }
        }

        @Override
        public byte[] fileKey(byte[] header) throws DataDirectoryException {
          return openSealed(header, "seal key");
        }
      };

  private final SealedContent.Keys spillKeys =
      new SealedContent.Keys() {
        @Override
        public SealedContent.NewFile newFile() {
          return newSealedFile(spillKeyId, spillKey.clone());
        }

        @Override
        public byte[] fileKey(byte[] header) throws DataDirectoryException {
          return openSealed(header, "key: it is a spill file of an earlier run of the daemon");
        }
      };

  /** Makes a header and file key; clears {@code key}. */
  private SealedContent.NewFile newSealedFile(byte[] id, byte[] key) {
    byte[] fileId = new byte[16];
    random.nextBytes(fileId);
    try {
      return new SealedContent.NewFile(
          SealedHeader.create(id, fileId, key),
          SealedKeys.fileKey(key, SealedHeader.AES_256_XTS, fileId));
    } finally {
      Arrays.fill(key, (byte) 0);
    }
  }

  private byte[] openSealed(byte[] header, String whatIsMissing) throws DataDirectoryException {
    return fileKey(header, this::keyOf, whatIsMissing);
  }

  /** The file key that a header leads to, 64 bytes; the caller clears it. */
  static byte[] fileKey(
      byte[] header, Function<byte[], byte @Nullable []> keyOf, String whatIsMissing)
      throws DataDirectoryException {
    // the header's two copies may name two keys: both are cleared
    List<byte[]> asked = new ArrayList<>();
    try {
      SealedHeader.Result result =
          SealedHeader.parse(
              header,
              id -> {
                byte[] key = keyOf.apply(id);
                if (key != null) {
                  asked.add(key);
                }
                return key;
              });
      return switch (result) {
        case SealedHeader.Valid v ->
            SealedKeys.fileKey(asked.getLast(), v.header().cipher(), v.header().fileId());
        case SealedHeader.Invalid i ->
            throw new DataDirectoryException(
                DataDirectoryException.Problem.IO,
                i.reason() == SealedHeader.Reason.UNKNOWN_SEAL_KEY
                    ? "its header names an unknown " + whatIsMissing
                    : i.message());
      };
    } finally {
      asked.forEach(key -> Arrays.fill(key, (byte) 0));
    }
  }

  private byte @Nullable [] keyOf(byte[] id) {
    if (Arrays.equals(id, spillKeyId)) {
      return spillKey.clone();
    }
    try {
      return keys.sealKeys().copyKey(id);
    } catch (KeyException e) {
      log.error("{}", e.getMessage());
      return null;
    }
  }

  // ---- the daemon's own reading of clear files ----

  private boolean walEncryption() {
    Boolean forced = options.walEncryption();
    if (forced != null) {
      return forced;
    }
    return new WalEncryptionSetting(
            new WalEncryptionSetting.ClearFiles() {
              @Override
              public byte @Nullable [] read(String relativePath) throws IOException {
                return readClear(relativePath);
              }

              @Override
              public List<String> list(String relativePath) throws IOException {
                try {
                  return DataDirectory.this.list(relativePath);
                } catch (DataDirectoryException e) {
                  throw new IOException(e.getMessage(), e);
                }
              }
            },
            options.mountPoint())
        .isOn();
  }

  /** Clear content of a sealed file by path from the root; null if there is none. At most 1 MiB. */
  byte @Nullable [] readClear(String path) throws IOException {
    int fd = Posix.openat(rootFd, path, Posix.O_RDONLY, 0);
    if (fd == -Errno.ENOENT) {
      return null;
    }
    if (fd < 0) {
      throw new IOException(path + ": " + Errno.describe(fd));
    }
    Stat s = new Stat();
    Posix.fstat(fd, s);
    SealedContent c = new SealedContent(backing, fd, s.size, path, true, sealedKeys);
    try (Arena arena = Arena.ofConfined()) {
      int n = (int) Math.min(c.size, 1 << 20);
      byte[] out = new byte[n];
      if (n > 0) {
        long buffer = arena.allocate(n).address();
        int got = c.read(0, n, buffer);
        if (got < 0) {
          throw new IOException(path + ": " + Errno.describe(got));
        }
        Memory.copyOut(buffer, out, 0, got);
      }
      return out;
    } finally {
      c.close();
      Posix.close(fd);
    }
  }
}
