package io.pgveil.datadir;

import io.pgveil.fuse.FileSystem;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One clear view of one encrypted tree: the data directory itself, or a tablespace elsewhere. Knows
 * names and nodes; what the bytes mean is {@link Content}'s matter.
 *
 * <p>Locks, taken in this order:
 *
 * <ol>
 *   <li>{@link #tree}: shared while a path is made and used, exclusive while a path changes
 *       (rename)
 *   <li>a node's monitor: its references and its open file
 *   <li>an open file's content lock
 *   <li>a {@link RelationFiles.Directory}: over create and unlink in a database directory, and
 *       where a key is made; none of the others is asked for under it
 * </ol>
 */
final class View implements FileSystem {
  private static final Logger log = LoggerFactory.getLogger(View.class);

  /** Names and attributes change through us alone, so the kernel may keep them. */
  private static final long VALID_MILLIS = 3_600_000;

  /** How many nodes are made between two looks at their number. */
  private static final int NODES_BETWEEN_LOOKS = 1024;

  /**
   * From this size on, in bytes, encrypting a WAL write takes longer than waking who waits for it.
   */
  private static final int ANSWERED_EARLY = 64 * 1024;

  private static final int NOT_TIMES =
      SetAttributes.MODE | SetAttributes.UID | SetAttributes.GID | SetAttributes.SIZE;

  private final DataDirectory dataDirectory;
  private final Backing backing;
  private final int rootFd;
  private final Node root;
  private final boolean asRoot;
  private final ReentrantReadWriteLock tree = new ReentrantReadWriteLock();
  private final Map<Long, Node> nodes = new ConcurrentHashMap<>();
  private final Map<Node.Identity, Node> byIdentity = new ConcurrentHashMap<>();
  private final AtomicLong nextNode = new AtomicLong(ROOT + 1);
  private final IdleFiles idle;
  private volatile @Nullable Kernel kernel;

  View(DataDirectory dataDirectory, int rootFd, Place rootPlace) throws DataDirectoryException {
    this.dataDirectory = dataDirectory;
    this.backing = dataDirectory.backing();
    this.rootFd = rootFd;
    this.asRoot = Posix.geteuid() == 0;
    this.idle =
        new IdleFiles(
            dataDirectory.tuning().idleFiles(),
            dataDirectory.tuning().idleWrittenFiles(),
            this::closeIdle);
    Stat s = new Stat();
    int r = backing.fstat(rootFd, s);
    if (r < 0) {
      throw new DataDirectoryException(-r, "cipher directory: " + Errno.describe(r));
    }
    root = new Node(ROOT, new Node.Identity(s.dev, s.ino), rootPlace);
    root.lookups = 1;
    nodes.put(ROOT, root);
    byIdentity.put(root.identity, root);
  }

  @Override
  public void kernel(Kernel given) {
    kernel = given;
  }

  private boolean isDataRoot(Node n) {
    return n == root && n.directoryPlace().role() == Place.Role.ROOT;
  }

  // ---- nodes ----

  private @Nullable Node node(long id) {
    return nodes.get(id);
  }

  /** The node of what {@code s} describes, known by this name, with one more kernel reference. */
  private Node intern(Node parent, String name, Stat s) {
    Node.Identity identity = new Node.Identity(s.dev, s.ino);
    while (true) {
      Node n =
          byIdentity.computeIfAbsent(
              identity,
              i -> {
                Place place =
                    s.isDirectory()
                        ? dataDirectory.resolve(parent.directoryPlace().directory(name), this)
                        : null;
                Node made = new Node(nextNode.getAndIncrement(), i, place);
                nodes.put(made.id, made);
                if (made.id % NODES_BETWEEN_LOOKS == 0 && tooManyNodes()) {
                  dataDirectory.housekeepingSoon();
                }
                return made;
              });
      synchronized (n) {
        if (n.dead) {
          continue;
        }
        n.lookups++;
        n.addName(parent, name);
        return n;
      }
    }
  }

  @Override
  public void forget(long id, long count) {
    Node n = node(id);
    if (n == null || n == root) {
      return;
    }
    synchronized (n) {
      n.lookups -= count;
      dropIfUnused(n);
    }
  }

  private boolean tooManyNodes() {
    return nodes.size() > dataDirectory.tuning().nodes();
  }

  int nodeCount() {
    return nodes.size();
  }

  /**
   * The kernel keeps every name that it has ever looked up while it has memory, and we a node for
   * each: where they are too many, it is asked to forget a part of them, roughly the oldest first,
   * and the nodes go with its FORGETs. Called with no lock held.
   */
  void forgetNames() {
    Kernel k = kernel;
    if (k == null || !tooManyNodes()) {
      return;
    }
    int excess = nodes.size() - dataDirectory.tuning().nodes() / 4 * 3;
    for (Node n : nodes.values()) {
      Node.Name name = n.name();
      if (n.place != null || n.open != null || name == null) {
        continue;
      }
      // ENOENT: the kernel has it by another name, or is just giving it back
      if (k.forgetName(name.parent().id, name.name()) >= 0 && --excess <= 0) {
        return;
      }
    }
  }

  /** The caller holds the node's monitor. */
  private void dropIfUnused(Node n) {
    if (n.lookups <= 0 && n.open == null && !n.dead) {
      n.dead = true;
      nodes.remove(n.id, n);
      byIdentity.remove(n.identity, n);
    }
  }

  private void fill(Entry out, Node n, Stat s, FileKind kind) {
    out.node = n.id;
    out.generation = 0;
    boolean changesBehindTheMount = kind == FileKind.KEY_FILE || isKeyDirectory(n);
    out.entryValidMillis = changesBehindTheMount ? 0 : VALID_MILLIS;
    fill(out.attributes, n, s, kind);
  }

  private void fill(Attributes a, Node n, Stat s, FileKind kind) {
    a.ino = s.ino;
    a.mode = s.mode;
    a.nlink = s.nlink;
    a.uid = s.uid;
    a.gid = s.gid;
    a.rdev = s.rdev;
    a.atime = s.atime;
    a.atimeNanos = s.atimeNanos;
    a.mtime = s.mtime;
    a.mtimeNanos = s.mtimeNanos;
    a.ctime = s.ctime;
    a.ctimeNanos = s.ctimeNanos;
    a.blocks = s.blocks;
    a.blockSize = 8192;
    a.size = s.size;
    a.validMillis = VALID_MILLIS;
    if (s.isRegular()) {
      OpenFile f = n.open;
      if (f != null && kind != FileKind.KEY_FILE) {
        a.size = f.content.size;
      } else if (kind.hasSealedLayout()) {
        a.size = io.pgveil.ciphers.SealedLayout.clearLength(s.size);
      }
    }
    if (kind == FileKind.KEY_FILE || isKeyDirectory(n)) {
      showToOwner(a);
    }
  }

  /** Key files may belong to the daemon's user; the data directory's owner may read them here. */
  private void showToOwner(Attributes a) {
    Stat s = Scratch.get().stat2;
    if (backing.fstat(rootFd, s) >= 0) {
      a.uid = s.uid;
      a.gid = s.gid;
    }
    a.mode &= ~0222;
    a.validMillis = 0;
  }

  private FileKind kindOf(Node n) {
    OpenFile f = n.open;
    if (f != null) {
      return f.kind;
    }
    Node.Name name = n.name();
    return name == null ? FileKind.SEALED : name.parent().directoryPlace().file(name.name());
  }

  private boolean isKeyDirectory(Node n) {
    Place p = n.place;
    return p != null && p.role() == Place.Role.KEYS;
  }

  // ---- names ----

  @Override
  public int lookup(long parentId, String name, Entry out) {
    Node parent = node(parentId);
    if (parent == null) {
      return -Errno.ESTALE;
    }
    Scratch s = Scratch.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      if (path == null) {
        return -Errno.ENOENT;
      }
      int r =
          dataDirectory.isHidden(this, parent, name)
              ? -Errno.ENOENT
              : backing.statat(rootFd, path, s.stat);
      if (r == -Errno.ENOENT) {
        out.node = 0;
        out.entryValidMillis = isKeyDirectory(parent) ? 0 : VALID_MILLIS;
        return 0;
      }
      if (r < 0) {
        return r;
      }
      Node n = intern(parent, name, s.stat);
      fill(out, n, s.stat, kindOf(n));
      return 0;
    } finally {
      tree.readLock().unlock();
    }
  }

  @Override
  public int getattr(long id, long handle, Attributes out) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    Scratch s = Scratch.get();
    int r = stat(n, s.stat);
    if (r < 0) {
      return r;
    }
    fill(out, n, s.stat, kindOf(n));
    return 0;
  }

  private int stat(Node n, Stat out) {
    synchronized (n) {
      // under the monitor, or the descriptor could be closed and belong to another file
      OpenFile f = n.open;
      if (f != null) {
        return backing.fstat(f.fd, out);
      }
    }
    tree.readLock().lock();
    try {
      String path = n.path();
      return path == null ? -Errno.ENOENT : backing.statat(rootFd, path, out);
    } finally {
      tree.readLock().unlock();
    }
  }

  @Override
  public int setattr(long id, long handle, SetAttributes in, Attributes out) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    Scratch s = Scratch.get();
    int r = stat(n, s.stat);
    if (r == -Errno.ENOENT && (in.valid & NOT_TIMES) == 0) {
      // Unlinked and closed, but the kernel still writes its times back. It does not look at the
      // attributes in the answer, and an error would become that of the next syncfs.
      return 0;
    }
    if (r < 0) {
      return r;
    }
    if (s.stat.isRegular()) {
      if (kindOf(n) == FileKind.KEY_FILE) {
        return -Errno.EROFS;
      }
      r = setFileAttributes(n, in, s.stat);
    } else if (isKeyDirectory(n)) {
      return -Errno.EPERM;
    } else {
      r = setNameAttributes(n, in, s.stat);
    }
    if (r < 0) {
      return r;
    }
    return getattr(id, handle, out);
  }

  private int setFileAttributes(Node n, SetAttributes in, Stat before) {
    OpenFile f = acquire(n, before);
    if (f == null) {
      return lastOpenError.get();
    }
    try {
      int r = 0;
      if ((in.valid & SetAttributes.SIZE) != 0) {
        r = truncate(n, in.size);
        f = n.open == null ? f : n.open;
      }
      if (r >= 0 && (in.valid & (SetAttributes.UID | SetAttributes.GID)) != 0) {
        r =
            Posix.fchown(
                f.fd,
                (in.valid & SetAttributes.UID) != 0 ? in.uid : -1,
                (in.valid & SetAttributes.GID) != 0 ? in.gid : -1);
      }
      if (r >= 0 && (in.valid & SetAttributes.MODE) != 0) {
        r = Posix.fchmod(f.fd, in.mode & 07777);
      }
      if (r >= 0 && setsTimes(in)) {
        r = Posix.futimens(f.fd, in.atime, atimeNanos(in), in.mtime, mtimeNanos(in));
      }
      return Math.min(r, 0);
    } finally {
      release(n);
    }
  }

  /** A file that is emptied has nothing left that a sync could have lost. */
  private int truncate(Node n, long size) {
    int r = change(n, f -> f.content.truncate(size));
    OpenFile f = n.open;
    if (r >= 0 && size == 0 && f != null) {
      f.syncError = 0;
      f.lostError = 0;
    }
    return r;
  }

  private static boolean setsTimes(SetAttributes in) {
    return (in.valid & (SetAttributes.ATIME | SetAttributes.MTIME)) != 0;
  }

  private static long atimeNanos(SetAttributes in) {
    if ((in.valid & SetAttributes.ATIME) == 0) {
      return Posix.UTIME_OMIT;
    }
    return (in.valid & SetAttributes.ATIME_NOW) != 0 ? Posix.UTIME_NOW : in.atimeNanos;
  }

  private static long mtimeNanos(SetAttributes in) {
    if ((in.valid & SetAttributes.MTIME) == 0) {
      return Posix.UTIME_OMIT;
    }
    return (in.valid & SetAttributes.MTIME_NOW) != 0 ? Posix.UTIME_NOW : in.mtimeNanos;
  }

  private int setNameAttributes(Node n, SetAttributes in, Stat before) {
    tree.readLock().lock();
    try {
      String path = n.path();
      if (path == null) {
        return -Errno.ENOENT;
      }
      path = path.isEmpty() ? "." : path;
      int r = 0;
      if ((in.valid & (SetAttributes.UID | SetAttributes.GID)) != 0) {
        r =
            Posix.chownat(
                rootFd,
                path,
                (in.valid & SetAttributes.UID) != 0 ? in.uid : -1,
                (in.valid & SetAttributes.GID) != 0 ? in.gid : -1);
      }
      if (r >= 0 && (in.valid & SetAttributes.MODE) != 0) {
        r =
            before.isSymbolicLink()
                ? -Errno.EOPNOTSUPP
                : Posix.chmodat(rootFd, path, in.mode & 07777);
      }
      if (r >= 0 && setsTimes(in)) {
        r = Posix.utimens(rootFd, path, in.atime, atimeNanos(in), in.mtime, mtimeNanos(in));
      }
      return r;
    } finally {
      tree.readLock().unlock();
    }
  }

  @Override
  public int readlink(long id, long address, int size) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    tree.readLock().lock();
    try {
      String path = n.path();
      return path == null ? -Errno.ENOENT : Posix.readlinkat(rootFd, path, address, size);
    } finally {
      tree.readLock().unlock();
    }
  }

  /** Makes one name as the caller; the operation gets the path. */
  private interface Maker {
    int make(String path);
  }

  private int makeName(Caller caller, long parentId, String name, Entry out, Maker maker) {
    Node parent = node(parentId);
    if (parent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(parent) || dataDirectory.isReserved(this, parent, name)) {
      return -Errno.EPERM;
    }
    Scratch s = Scratch.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      if (path == null) {
        return -Errno.ENOENT;
      }
      int r = asCaller(caller, path, maker);
      if (r >= 0) {
        r = backing.statat(rootFd, path, s.stat);
      }
      if (r < 0) {
        return r;
      }
      Node n = intern(parent, name, s.stat);
      fill(out, n, s.stat, kindOf(n));
      return 0;
    } finally {
      tree.readLock().unlock();
    }
  }

  /**
   * Runs {@code maker} with the caller's identity, so that the new file never belongs to root, not
   * even if the daemon is killed at once: a server could not open it then.
   */
  private int asCaller(Caller caller, String path, Maker maker) {
    if (!asRoot || (caller.uid() == 0 && caller.gid() == 0)) {
      return maker.make(path);
    }
    Posix.setfsgid(caller.gid());
    Posix.setfsuid(caller.uid());
    int r;
    try {
      r = maker.make(path);
    } finally {
      Posix.setfsuid(0);
      Posix.setfsgid(0);
    }
    if (r != -Errno.EACCES) {
      return r;
    }
    // the kernel has checked the caller's rights; a supplementary group may have given them
    r = maker.make(path);
    if (r >= 0) {
      Posix.chownat(rootFd, path, caller.uid(), caller.gid());
    }
    return r;
  }

  @Override
  public int symlink(Caller caller, long parentId, String name, String target, Entry out) {
    Node parent = node(parentId);
    if (parent != null && !dataDirectory.mayLink(parent, name, target)) {
      return -Errno.EPERM;
    }
    return makeName(caller, parentId, name, out, path -> backing.symlinkat(target, rootFd, path));
  }

  @Override
  public int mknod(Caller caller, long parentId, String name, int mode, int rdev, Entry out) {
    int type = mode & Stat.S_IFMT;
    if (type == Stat.S_IFREG) {
      OpenResult ignored = new OpenResult();
      int r = create(caller, parentId, name, mode, Posix.O_EXCL, out, ignored);
      if (r >= 0) {
        release(out.node, ignored.handle, 0);
      }
      return r;
    }
    if (type != Stat.S_IFSOCK && type != 0010000) {
      return -Errno.EPERM;
    }
    return makeName(caller, parentId, name, out, path -> backing.mknodat(rootFd, path, mode, 0));
  }

  @Override
  public int mkdir(Caller caller, long parentId, String name, int mode, Entry out) {
    return makeName(
        caller, parentId, name, out, path -> backing.mkdirat(rootFd, path, mode & 07777));
  }

  @Override
  public int unlink(long parentId, String name) {
    Node parent = node(parentId);
    if (parent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(parent)) {
      return -Errno.EPERM;
    }
    Scratch s = Scratch.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      if (path == null) {
        return -Errno.ENOENT;
      }
      int r = backing.statat(rootFd, path, s.stat);
      if (r < 0) {
        return r;
      }
      boolean lastName = s.stat.nlink <= 1;
      Node n = byIdentity.get(new Node.Identity(s.stat.dev, s.stat.ino));
      RelationFile f = parent.directoryPlace().relationFile(name);
      int pin = pin(n, path);
      try {
        r = remove(parent, f, path);
        if (r < 0) {
          return r;
        }
        if (n != null) {
          unlinked(n, parent, name, lastName);
        }
      } finally {
        unpin(pin);
      }
      dataDirectory.nameRemoved(this, parent, name);
      return 0;
    } catch (DataDirectoryException e) {
      return -e.errno();
    } finally {
      tree.readLock().unlock();
    }
  }

  /**
   * Keeps the inode that {@code n} stands for until the node is told of the unlink: its number must
   * not come back before, or a file that another thread makes would be taken for {@code n}.
   */
  private int pin(@Nullable Node n, String path) {
    return n == null ? -1 : Posix.openat(rootFd, path, Posix.O_PATH | Posix.O_NOFOLLOW, 0);
  }

  private static void unpin(int pin) {
    if (pin >= 0) {
      Posix.close(pin);
    }
  }

  private int remove(Node parent, @Nullable RelationFile f, String path)
      throws DataDirectoryException {
    if (f == null) {
      return backing.unlinkat(rootFd, path, 0);
    }
    if (f.isTemporary()) {
      int r = backing.unlinkat(rootFd, path, 0);
      if (r >= 0) {
        dataDirectory.relations().temporaryRemoved(f);
      }
      return r;
    }
    RelationFiles.Directory d = relationDirectory(parent);
    synchronized (d) {
      d.beforeRemove();
      int r = backing.unlinkat(rootFd, path, 0);
      if (r >= 0) {
        d.removed(f);
      }
      return r;
    }
  }

  private RelationFiles.Directory relationDirectory(Node directory) throws DataDirectoryException {
    String path = directory.path();
    Place place = directory.directoryPlace();
    if (path == null || place.tablespace() == Place.UNRESOLVED) {
      throw new DataDirectoryException(
          Errno.EIO, "no link in pg_tblspc leads to this tablespace directory: " + path);
    }
    return dataDirectory.relations().directory(rootFd, path, place);
  }

  /**
   * {@code n} lost the name; if it was the last, its inode number may come back as another file.
   */
  private void unlinked(Node n, Node parent, String name, boolean lastName) {
    synchronized (n) {
      n.removeName(parent, name);
      if (lastName) {
        n.clearNames();
        byIdentity.remove(n.identity, n);
        OpenFile f = n.open;
        if (f != null && f.users == 0) {
          idle.remove(n);
          close(n, f);
        }
      }
    }
  }

  @Override
  public int rmdir(long parentId, String name) {
    Node parent = node(parentId);
    if (parent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(parent) || dataDirectory.isReserved(this, parent, name)) {
      return -Errno.EPERM;
    }
    Scratch s = Scratch.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      if (path == null) {
        return -Errno.ENOENT;
      }
      int r = backing.statat(rootFd, path, s.stat);
      if (r < 0) {
        return r;
      }
      Node n = byIdentity.get(new Node.Identity(s.stat.dev, s.stat.ino));
      Place place = parent.directoryPlace().directory(name);
      int pin = pin(n, path);
      try {
        r = backing.unlinkat(rootFd, path, Posix.AT_REMOVEDIR);
        if (r < 0) {
          return r;
        }
        if (n != null) {
          unlinked(n, parent, name, true);
        }
      } finally {
        unpin(pin);
      }
      String parentPath = parent.path();
      if (place.role() == Place.Role.DATABASE && parentPath != null) {
        dataDirectory.databaseDirectoryRemoved(
            rootFd, parentPath, n != null && n.place != null ? n.place : place);
      }
      return 0;
    } finally {
      tree.readLock().unlock();
    }
  }

  // ---- rename and link: identity may change (hazard 3) ----

  @Override
  public int rename(long parentId, String name, long newParentId, String newName, int flags) {
    Node parent = node(parentId);
    Node newParent = node(newParentId);
    if (parent == null || newParent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(parent)
        || isKeyDirectory(newParent)
        || dataDirectory.isReserved(this, parent, name)
        || dataDirectory.isReserved(this, newParent, newName)) {
      return -Errno.EPERM;
    }
    tree.writeLock().lock();
    try {
      String from = parent.path(name);
      String to = newParent.path(newName);
      if (from == null || to == null) {
        return -Errno.ENOENT;
      }
      Scratch s = Scratch.get();
      int r = backing.statat(rootFd, from, s.stat);
      if (r < 0) {
        return r;
      }
      boolean targetExists = backing.statat(rootFd, to, s.stat2) == 0;
      if ((flags & Posix.RENAME_NOREPLACE) != 0 && targetExists) {
        return -Errno.EEXIST;
      }
      if (targetExists && s.stat.dev == s.stat2.dev && s.stat.ino == s.stat2.ino) {
        return 0;
      }
      return new Rename(parent, name, newParent, newName, from, to, flags, targetExists).run();
    } catch (DataDirectoryException e) {
      log.error("rename of {} to {}: {}", name, newName, e.getMessage());
      return -e.errno();
    } finally {
      tree.writeLock().unlock();
    }
  }

  /** One rename, under the exclusive tree lock. */
  private final class Rename {
    private final Node parent;
    private final String name;
    private final Node newParent;
    private final String newName;
    private final String from;
    private final String to;
    private final int flags;
    private final boolean targetExists;
    private final Stat source = new Stat();
    private final Stat target = new Stat();

    Rename(
        Node parent,
        String name,
        Node newParent,
        String newName,
        String from,
        String to,
        int flags,
        boolean targetExists) {
      this.parent = parent;
      this.name = name;
      this.newParent = newParent;
      this.newName = newName;
      this.from = from;
      this.to = to;
      this.flags = flags;
      this.targetExists = targetExists;
    }

    int run() throws DataDirectoryException {
      Scratch s = Scratch.get();
      copy(s.stat, source);
      if (targetExists) {
        copy(s.stat2, target);
      }
      if (source.isDirectory()) {
        return directory();
      }
      if (source.isSymbolicLink() && !mayLinkTo(newParent, newName, from)) {
        return -Errno.EPERM;
      }
      if (!source.isRegular()) {
        return plain();
      }
      FileKind oldKind = parent.directoryPlace().file(name);
      FileKind newKind = newParent.directoryPlace().file(newName);
      RelationFile oldFile = parent.directoryPlace().relationFile(name);
      RelationFile newFile = newParent.directoryPlace().relationFile(newName);
      boolean same = keepsIdentity(oldKind, oldFile, newKind, newFile);
      if ((flags & Posix.RENAME_EXCHANGE) != 0) {
        boolean bothPlain = same && (!targetExists || target.isRegular());
        return bothPlain && oldFile == null ? plain() : -Errno.EINVAL;
      }
      if (!same && oldKind == FileKind.WAL_TEMPORARY && newKind == FileKind.WAL_SEGMENT) {
        same = isEmptyTemporary();
      }
      return same ? plain() : transcode(oldFile, newKind, newFile);
    }

    private boolean keepsIdentity(
        FileKind oldKind,
        @Nullable RelationFile oldFile,
        FileKind newKind,
        @Nullable RelationFile newFile) {
      if (oldKind != newKind) {
        return false;
      }
      return switch (oldKind) {
        case RELATION, TEMP_RELATION -> oldFile != null && oldFile.equals(newFile);
        case WAL_SEGMENT -> {
          WalFileName a = WalFileName.parse(name);
          WalFileName b = WalFileName.parse(newName);
          // a recycled segment's content is dead; its partial form is the same stretch of WAL
          yield a != null && b != null && (!b.partial() || a.timeline() == b.timeline());
        }
        default -> true;
      };
    }

    private boolean isEmptyTemporary() {
      Node n = byIdentity.get(new Node.Identity(source.dev, source.ino));
      OpenFile f = n == null ? null : n.open;
      return f != null && f.content instanceof WalTemporaryContent t && !t.holdsData();
    }

    private int directory() throws DataDirectoryException {
      if ((flags & Posix.RENAME_EXCHANGE) != 0) {
        return -Errno.EINVAL;
      }
      Place before = dataDirectory.resolve(parent.directoryPlace().directory(name), View.this);
      Place after = dataDirectory.resolve(newParent.directoryPlace().directory(newName), View.this);
      if (!before.holdsTheSameAs(after) && !isEmptyDirectory(from)) {
        log.error("{} cannot become {}: the files in it would need other keys", from, to);
        return -Errno.EXDEV;
      }
      int r = backing.renameat(rootFd, from, to, flags);
      if (r < 0) {
        return r;
      }
      targetGone();
      moved(after);
      return 0;
    }

    private boolean isEmptyDirectory(String path) throws DataDirectoryException {
      int fd = Posix.openat(rootFd, path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
      if (fd < 0) {
        return false;
      }
      boolean[] empty = {true};
      try {
        RelationFiles.DirectoryScan.forEach(fd, (n, t, i) -> empty[0] = false);
      } finally {
        Posix.close(fd);
      }
      return empty[0];
    }

    private int plain() throws DataDirectoryException {
      Node n = byIdentity.get(new Node.Identity(source.dev, source.ino));
      int r = backing.renameat(rootFd, from, to, flags);
      if (r < 0) {
        return r;
      }
      if ((flags & Posix.RENAME_EXCHANGE) != 0) {
        Node other = byIdentity.get(new Node.Identity(target.dev, target.ino));
        if (other != null) {
          synchronized (other) {
            other.removeName(newParent, newName);
            other.addName(parent, name);
          }
        }
        reopenUnderNewName(other);
      } else {
        targetGone();
      }
      moved(null);
      // an idle descriptor's content knows the old name (segment number, file name)
      reopenUnderNewName(n);
      nameChanged();
      return 0;
    }

    private void nameChanged() {
      dataDirectory.nameRemoved(View.this, parent, name);
      dataDirectory.nameAdded(View.this, newParent, newName);
    }

    /** The source's node gets its new name. */
    private void moved(@Nullable Place newPlace) {
      Node n = byIdentity.get(new Node.Identity(source.dev, source.ino));
      if (n != null) {
        synchronized (n) {
          n.removeName(parent, name);
          n.addName(newParent, newName);
          if (newPlace != null) {
            n.place = newPlace;
          }
        }
      }
    }

    private void targetGone() {
      if (!targetExists) {
        return;
      }
      Node old = byIdentity.get(new Node.Identity(target.dev, target.ino));
      if (old != null) {
        unlinked(old, newParent, newName, target.nlink <= 1 || target.isDirectory());
      }
    }

    private int transcode(
        @Nullable RelationFile oldFile, FileKind newKind, @Nullable RelationFile newFile)
        throws DataDirectoryException {
      Node n = internForUse(parent, name, source);
      try {
        RelationFiles.Directory born =
            newKind == FileKind.RELATION ? relationDirectory(newParent) : null;
        if (born != null && newFile != null) {
          synchronized (born) {
            if (!targetExists) {
              born.beforeCreate(newFile);
            }
          }
        }
        int r = replaceBy(n, newKind, newFile, born, newName, source, to);
        if (born != null && newFile != null && !targetExists) {
          synchronized (born) {
            if (r >= 0) {
              born.created(newFile);
            } else {
              born.notCreated(newFile);
            }
          }
        }
        if (r < 0) {
          return r;
        }
        targetGone();
        r = remove(parent, oldFile, from);
        if (r < 0) {
          // the new name is complete and durable; the old one is only left over
          log.warn("{} was left behind by its rename to {}: {}", from, to, Errno.describe(r));
        }
        synchronized (n) {
          n.removeName(parent, name);
          n.addName(newParent, newName);
        }
        nameChanged();
        return 0;
      } finally {
        forget(n.id, 1);
      }
    }
  }

  /** Whether the link at {@code path} may get this name, see {@link DataDirectory#mayLink}. */
  private boolean mayLinkTo(Node newParent, String newName, String path) {
    long buffer = Scratch.get().io;
    int n = Posix.readlinkat(rootFd, path, buffer, 4096);
    return n >= 0 && dataDirectory.mayLink(newParent, newName, Memory.getString(buffer, n));
  }

  private static void copy(Stat from, Stat to) {
    to.mode = from.mode;
    to.nlink = from.nlink;
    to.uid = from.uid;
    to.gid = from.gid;
    to.dev = from.dev;
    to.ino = from.ino;
    to.size = from.size;
    to.mtime = from.mtime;
    to.mtimeNanos = from.mtimeNanos;
    to.atime = from.atime;
    to.atimeNanos = from.atimeNanos;
  }

  private Node internForUse(Node parent, String name, Stat s) {
    return intern(parent, name, s);
  }

  /**
   * Writes the clear content of {@code n} to a staged file in the format of its new kind, makes it
   * durable, and renames it to {@code path}; the node goes on with the new file. On failure the old
   * file is as it was.
   */
  private int replaceBy(
      Node n,
      FileKind newKind,
      @Nullable RelationFile newFile,
      RelationFiles.@Nullable Directory newDirectory,
      String newName,
      Stat before,
      String path)
      throws DataDirectoryException {
    OpenFile old = acquire(n, before);
    if (old == null) {
      return lastOpenError.get();
    }
    try {
      String staged = dataDirectory.stagingName(this);
      int fd =
          backing.openat(
              rootFd, staged, Posix.O_CREAT | Posix.O_EXCL | Posix.O_RDWR, before.mode & 07777);
      if (fd < 0) {
        return fd;
      }
      boolean done = false;
      Content content = null;
      old.lock.writeLock().lock();
      try {
        if (asRoot) {
          Posix.fchown(fd, before.uid, before.gid);
        }
        content = dataDirectory.content(newKind, newFile, newDirectory, newName, fd, 0);
        // PostgreSQL fills WAL files so that no disk can be full when it writes to them
        int r =
            newKind == FileKind.WAL_SEGMENT && old.content.size > 0
                ? backing.fallocate(fd, Posix.FALLOC_FL_KEEP_SIZE, 0, old.content.size)
                : 0;
        if (r >= 0 || r == -Errno.EOPNOTSUPP) {
          if (content instanceof WalContent wal) {
            wal.setBeingRestored(true);
            r = copyContent(old.content, wal);
            wal.setBeingRestored(false);
          } else {
            r = copyContent(old.content, content);
          }
        }
        if (r >= 0) {
          r = content.flush();
        }
        if (r >= 0) {
          r = content.beforeSync();
        }
        if (r >= 0) {
          Posix.futimens(fd, before.atime, before.atimeNanos, before.mtime, before.mtimeNanos);
          r = backing.fsync(fd);
        }
        if (r >= 0) {
          r = backing.renameat(rootFd, staged, path, 0);
        }
        Stat now = new Stat();
        if (r >= 0) {
          r = backing.fstat(fd, now);
        }
        if (r < 0) {
          return r;
        }
        done = true;
        OpenFile fresh = new OpenFile(fd, newKind, newFile, content);
        synchronized (n) {
          byIdentity.remove(n.identity, n);
          n.identity = new Node.Identity(now.dev, now.ino);
          byIdentity.put(n.identity, n);
          fresh.users = old.users;
          n.open = fresh;
        }
        // a sync may still be using the old descriptor: it goes with the new one
        fresh.retire(old);
        old.replaced = true;
        old.content.close();
        return 0;
      } finally {
        old.lock.writeLock().unlock();
        if (!done) {
          if (content != null) {
            content.close();
          }
          backing.close(fd);
          backing.unlinkat(rootFd, staged, 0);
        }
      }
    } finally {
      release(n);
    }
  }

  private static int copyContent(Content from, Content to) {
    try (Arena arena = Arena.ofConfined()) {
      int step = Scratch.CHUNK;
      long buffer = arena.allocate(step, 4096).address();
      long at = 0;
      while (at < from.size) {
        int n = from.read(at, (int) Math.min(step, from.size - at), buffer);
        if (n <= 0) {
          return n < 0 ? n : -Errno.EIO;
        }
        int r = Memory.isZero(buffer, n) ? 0 : to.write(at, n, buffer);
        if (r < 0) {
          return r;
        }
        at += n;
      }
      int r = to.size < from.size ? to.truncate(from.size) : 0;
      Memory.fill(buffer, step, 0);
      return r;
    }
  }

  /** Content that depends on its file's name is made anew; the descriptor stays. */
  private void reopenUnderNewName(@Nullable Node n) throws DataDirectoryException {
    if (n == null) {
      return;
    }
    synchronized (n) {
      OpenFile f = n.open;
      Node.Name name = n.name();
      if (f == null || name == null) {
        return;
      }
      Place place = name.parent().directoryPlace();
      FileKind kind = place.file(name.name());
      if (kind != FileKind.WAL_SEGMENT) {
        return;
      }
      f.lock.writeLock().lock();
      try {
        long size = f.content.size;
        OpenFile fresh =
            new OpenFile(
                f.fd, kind, null, dataDirectory.content(kind, null, null, name.name(), f.fd, size));
        fresh.users = f.users;
        fresh.dirty = f.dirty;
        fresh.syncError = f.syncError;
        fresh.lostError = f.lostError;
        fresh.takeRetired(f);
        n.open = fresh;
        f.replaced = true;
        f.content.close();
      } finally {
        f.lock.writeLock().unlock();
      }
    }
  }

  @Override
  public int link(long id, long newParentId, String newName, Entry out) {
    Node n = node(id);
    Node newParent = node(newParentId);
    if (n == null || newParent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(newParent)
        || kindOf(n) == FileKind.KEY_FILE
        || dataDirectory.isReserved(this, newParent, newName)) {
      return -Errno.EPERM;
    }
    Scratch s = Scratch.get();
    tree.writeLock().lock();
    try {
      String from = n.path();
      String to = newParent.path(newName);
      Node.Name name = n.name();
      if (from == null || to == null || name == null) {
        return -Errno.ENOENT;
      }
      int r = backing.statat(rootFd, from, s.stat);
      if (r < 0) {
        return r;
      }
      if (s.stat.isSymbolicLink() && !mayLinkTo(newParent, newName, from)) {
        return -Errno.EPERM;
      }
      if (s.stat.isRegular()) {
        r = prepareLink(n, name, newParent, newName, from, to, s.stat);
      }
      if (r >= 0) {
        r = backing.linkat(rootFd, from, to);
      }
      if (r >= 0) {
        r = backing.statat(rootFd, to, s.stat);
      }
      if (r < 0) {
        return r;
      }
      Node same = intern(newParent, newName, s.stat);
      fill(out, same, s.stat, kindOf(same));
      dataDirectory.nameAdded(this, newParent, newName);
      return 0;
    } catch (DataDirectoryException e) {
      log.error("link of {}: {}", newName, e.getMessage());
      return -e.errno();
    } finally {
      tree.writeLock().unlock();
    }
  }

  /**
   * Both names will share one inode, so the content takes the format of the new name first: the old
   * name is about to be unlinked (that is how WAL and history files were installed by link).
   */
  private int prepareLink(
      Node n, Node.Name name, Node newParent, String newName, String from, String to, Stat before)
      throws DataDirectoryException {
    FileKind oldKind = kindOf(n);
    FileKind newKind = newParent.directoryPlace().file(newName);
    RelationFile oldFile = name.parent().directoryPlace().relationFile(name.name());
    RelationFile newFile = newParent.directoryPlace().relationFile(newName);
    boolean sealedBoth = oldKind == newKind && oldFile == null && newFile == null;
    if (sealedBoth && oldKind != FileKind.WAL_SEGMENT) {
      return 0;
    }
    if (oldKind != FileKind.WAL_TEMPORARY || newFile != null) {
      log.error("{} cannot be linked as {}: one inode cannot hold both kinds", from, to);
      return -Errno.EXDEV;
    }
    Stat ignored = new Stat();
    if (backing.statat(rootFd, to, ignored) == 0) {
      return -Errno.EEXIST;
    }
    Stat copy = new Stat();
    copy(before, copy);
    return replaceBy(n, newKind, null, null, newName, copy, from);
  }

  // ---- open files ----

  /** Why the last {@link #acquire} of this thread gave null. */
  private final ThreadLocal<Integer> lastOpenError = ThreadLocal.withInitial(() -> 0);

  /** The open file of a node, opened if need be, with one more user; null on failure. */
  private @Nullable OpenFile acquire(Node n, Stat s) {
    tree.readLock().lock();
    try {
      synchronized (n) {
        OpenFile f = n.open;
        if (f == null) {
          f = openBacking(n, s);
          if (f == null) {
            return null;
          }
          n.open = f;
        } else if (f.users == 0) {
          idle.remove(n);
        }
        f.users++;
        return f;
      }
    } finally {
      tree.readLock().unlock();
    }
  }

  private @Nullable OpenFile openBacking(Node n, Stat s) {
    Node.Name name = n.name();
    String path = n.path();
    if (name == null || path == null) {
      lastOpenError.set(-Errno.ENOENT);
      return null;
    }
    Place place = name.parent().directoryPlace();
    FileKind kind = place.file(name.name());
    int flags = kind == FileKind.KEY_FILE ? Posix.O_RDONLY : Posix.O_RDWR;
    int fd = backing.openat(rootFd, path, flags | Posix.O_NOFOLLOW, 0);
    if (fd == -Errno.EACCES || fd == -Errno.EROFS) {
      fd = backing.openat(rootFd, path, Posix.O_RDONLY | Posix.O_NOFOLLOW, 0);
    }
    if (fd < 0) {
      lastOpenError.set(fd);
      return null;
    }
    int r = backing.fstat(fd, s);
    if (r >= 0) {
      try {
        RelationFile rf = place.relationFile(name.name());
        RelationFiles.Directory d =
            kind == FileKind.RELATION && place.tablespace() != Place.UNRESOLVED
                ? relationDirectory(name.parent())
                : null;
        Content c = dataDirectory.content(kind, rf, d, name.name(), fd, s.size);
        return new OpenFile(fd, kind, rf, c);
      } catch (DataDirectoryException e) {
        log.error("{}: {}", path, e.getMessage());
        r = -e.errno();
      }
    }
    backing.close(fd);
    lastOpenError.set(r);
    return null;
  }

  private void release(Node n) {
    boolean becameIdle = false;
    boolean unsynced = false;
    synchronized (n) {
      OpenFile f = n.open;
      if (f == null || --f.users > 0) {
        return;
      }
      if (n.isUnlinked()) {
        close(n, f);
      } else {
        becameIdle = true;
        unsynced = f.dirty;
      }
    }
    if (becameIdle) {
      idle.add(n, unsynced);
    }
  }

  /** The caller holds the node's monitor. */
  private void close(Node n, OpenFile f) {
    // a flush of waiting pages may be going on; the descriptor's number may come back at once
    f.lock.writeLock().lock();
    try {
      f.replaced = true;
      f.content.close();
      backing.close(f.fd);
      f.closeRetired(backing);
    } finally {
      // whatever has failed: who finds it replaced looks for the next one here
      n.open = null;
      f.lock.writeLock().unlock();
    }
    dropIfUnused(n);
  }

  private boolean closeIdle(Node n) {
    synchronized (n) {
      OpenFile f = n.open;
      if (f == null || f.users > 0) {
        return true;
      }
      // what was written through this descriptor must not lose its error with it
      if (f.content.mustStayOpen() || !bringToDisk(f)) {
        return false;
      }
      close(n, f);
      return true;
    }
  }

  private static boolean bringToDisk(OpenFile f) {
    boolean durable = f.kind != FileKind.SPILL && f.kind != FileKind.TEMP_RELATION;
    // whoever syncs must hear of what was lost, not we
    return f.flush() >= 0 && f.lostError == 0 && !(durable && f.dirty && f.sync(false) < 0);
  }

  /** Closes every file, those too that the kernel did not release; no request comes any more. */
  void closeAll() {
    for (Node n : nodes.values()) {
      synchronized (n) {
        OpenFile f = n.open;
        if (f != null) {
          if (!n.isUnlinked() && !bringToDisk(f)) {
            log.error("node {} ({}): not everything could be synced", n.id, f.kind);
          }
          close(n, f);
        }
      }
    }
  }

  /** An operation on the content under its exclusive lock. */
  private interface Change {
    int apply(OpenFile file);
  }

  private int change(Node n, Change change) {
    while (true) {
      OpenFile f = n.open;
      if (f == null) {
        return -Errno.EBADF;
      }
      f.lock.writeLock().lock();
      try {
        if (f.replaced) {
          continue;
        }
        int r = change.apply(f);
        if (f.content.hasDeferred()) {
          dataDirectory.waiting(f);
        }
        return r;
      } catch (RuntimeException e) {
        log.error("node {}: unexpected failure", n.id, e);
        return -Errno.EIO;
      } finally {
        // behind the change: a sync that began during it did not cover all of it
        f.dirty = true;
        f.lock.writeLock().unlock();
      }
    }
  }

  @Override
  public int open(Caller caller, long id, int flags, OpenResult out) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    Scratch s = Scratch.get();
    OpenFile f = acquire(n, s.stat);
    if (f == null) {
      return lastOpenError.get();
    }
    boolean writes = (flags & Posix.O_ACCMODE) != Posix.O_RDONLY;
    if (writes && f.kind == FileKind.KEY_FILE) {
      release(n);
      return -Errno.EROFS;
    }
    opened(f, out);
    return 0;
  }

  private static void opened(OpenFile f, OpenResult out) {
    out.handle = 1;
    out.directIo = f.kind.isDirect();
    out.keepCache = !f.kind.isDirect();
    out.parallelDirectWrites = false;
  }

  @Override
  public int create(
      Caller caller,
      long parentId,
      String name,
      int mode,
      int flags,
      Entry entry,
      OpenResult opened) {
    Node parent = node(parentId);
    if (parent == null) {
      return -Errno.ESTALE;
    }
    if (isKeyDirectory(parent) || dataDirectory.isReserved(this, parent, name)) {
      return -Errno.EPERM;
    }
    Scratch s = Scratch.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      if (path == null) {
        return -Errno.ENOENT;
      }
      RelationFile rf = parent.directoryPlace().relationFile(name);
      boolean keyed = rf != null && !rf.isTemporary();
      RelationFiles.Directory d = keyed ? relationDirectory(parent) : null;
      int fd;
      if (d == null || rf == null) {
        fd = createBacking(caller, path, mode, flags);
      } else {
        synchronized (d) {
          d.beforeCreate(rf);
          boolean existed = backing.statat(rootFd, path, s.stat) == 0;
          fd = createBacking(caller, path, mode, flags);
          if (fd < 0) {
            d.notCreated(rf);
          } else if (!existed) {
            d.created(rf);
          }
        }
      }
      if (fd < 0) {
        return fd;
      }
      int r = backing.fstat(fd, s.stat);
      if (r < 0) {
        backing.close(fd);
        return r;
      }
      Node n = intern(parent, name, s.stat);
      synchronized (n) {
        OpenFile f = n.open;
        if (f != null) {
          backing.close(fd);
          if (f.users == 0) {
            idle.remove(n);
          }
        } else {
          FileKind kind = parent.directoryPlace().file(name);
          f = new OpenFile(fd, kind, rf, dataDirectory.content(kind, rf, d, name, fd, s.stat.size));
          n.open = f;
        }
        f.users++;
        opened(f, opened);
      }
      if ((flags & Posix.O_TRUNC) != 0 && s.stat.size > 0) {
        r = truncate(n, 0);
        if (r < 0) {
          release(n);
          return r;
        }
      }
      fill(entry, n, s.stat, kindOf(n));
      dataDirectory.nameAdded(this, parent, name);
      return 0;
    } catch (DataDirectoryException e) {
      log.error("{} cannot be created: {}", name, e.getMessage());
      return -e.errno();
    } finally {
      tree.readLock().unlock();
    }
  }

  private int createBacking(Caller caller, String path, int mode, int flags) {
    int f = Posix.O_CREAT | Posix.O_RDWR | Posix.O_NOFOLLOW | (flags & Posix.O_EXCL);
    return asCaller(caller, path, p -> backing.openat(rootFd, p, f, mode & 07777));
  }

  @Override
  public int read(long id, long handle, long offset, int size, int openFlags, long address) {
    Node n = node(id);
    while (true) {
      OpenFile f = n == null ? null : n.open;
      if (f == null) {
        return -Errno.EBADF;
      }
      f.lock.readLock().lock();
      try {
        if (!f.replaced) {
          return f.content.read(offset, size, address);
        }
      } finally {
        f.lock.readLock().unlock();
      }
    }
  }

  @Override
  public int write(
      long id, long handle, long offset, int size, int openFlags, boolean fromCache, long address) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    int r = change(n, f -> f.content.write(offset, size, address));
    return written(n, offset, size, openFlags, fromCache, address, r);
  }

  /**
   * A large WAL write is answered when it has its place in the order of all WAL writes: PostgreSQL
   * takes it for written no more than before, until it has synced it.
   */
  @Override
  public int write(
      long id,
      long handle,
      long offset,
      int size,
      int openFlags,
      boolean fromCache,
      long address,
      EarlyAnswer early) {
    boolean synchronous = (openFlags & (Posix.O_DSYNC | Posix.O_SYNC)) != 0;
    Node n = node(id);
    if (n == null || size < ANSWERED_EARLY || synchronous || fromCache) {
      return write(id, handle, offset, size, openFlags, fromCache, address);
    }
    int r = change(n, f -> f.write(offset, size, address, early));
    return written(n, offset, size, openFlags, fromCache, address, r);
  }

  private int written(
      Node n, long offset, int size, int openFlags, boolean fromCache, long address, int result) {
    int r = result;
    if (r >= 0) {
      dataDirectory.written(this, n, offset, size, address);
      if (!fromCache && (openFlags & (Posix.O_DSYNC | Posix.O_SYNC)) != 0) {
        OpenFile f = n.open;
        int e = f == null ? -Errno.EBADF : f.sync((openFlags & Posix.O_SYNC) != Posix.O_SYNC);
        r = e < 0 ? e : r;
      }
    } else if (fromCache) {
      OpenFile f = n.open;
      if (f != null) {
        f.lost(r);
      }
    }
    return r;
  }

  @Override
  public int flush(long id, long handle) {
    // nothing to do at close: the kernel need not ask again, and writes its pages back all the same
    return -Errno.ENOSYS;
  }

  @Override
  public void release(long id, long handle, int openFlags) {
    Node n = node(id);
    if (n != null) {
      release(n);
    }
  }

  @Override
  public int fsync(long id, long handle, boolean dataOnly) {
    Node n = node(id);
    OpenFile f = n == null ? null : n.open;
    if (f == null) {
      return -Errno.EBADF;
    }
    if (f.content.hasDeferred()) {
      // whoever syncs one new file goes on with the others: all their pages at once, so that the
      // device and the journal of the file system below have one piece of work instead of many
      dataDirectory.writeWaiting();
    }
    int r = f.sync(dataOnly);
    if (r < 0) {
      log.error("sync of node {} ({}): {}", id, f.kind, Errno.describe(r));
    }
    return r;
  }

  @Override
  public int fallocate(long id, long handle, int mode, long offset, long size) {
    Node n = node(id);
    return n == null
        ? -Errno.ESTALE
        : Math.min(0, change(n, f -> f.content.allocate(mode, offset, size)));
  }

  @Override
  public long lseek(long id, long handle, long offset, int whence) {
    Node n = node(id);
    OpenFile f = n == null ? null : n.open;
    if (f == null) {
      return -Errno.EBADF;
    }
    // what waits in memory is no hole: cp would copy zeros in its place
    int r = f.flush();
    if (r < 0) {
      return r;
    }
    f.lock.readLock().lock();
    try {
      return f.content.seek(offset, whence);
    } finally {
      f.lock.readLock().unlock();
    }
  }

  @Override
  public long copyFileRange(
      long id, long handle, long offset, long toNode, long toHandle, long toOffset, long size) {
    return -Errno.EOPNOTSUPP;
  }

  // ---- directories ----

  @Override
  public int opendir(long id, OpenResult out) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    tree.readLock().lock();
    try {
      String path = n.path();
      if (path == null) {
        return -Errno.ENOENT;
      }
      int fd =
          Posix.openat(rootFd, path.isEmpty() ? "." : path, Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
      if (fd < 0) {
        return fd;
      }
      out.handle = fd;
      return 0;
    } finally {
      tree.readLock().unlock();
    }
  }

  @Override
  public int readdir(long id, long handle, long cookie, DirectoryOutput out) {
    return list(id, (int) handle, cookie, out, false);
  }

  @Override
  public int readdirplus(long id, long handle, long cookie, DirectoryOutput out) {
    return list(id, (int) handle, cookie, out, true);
  }

  /** Cookies are the backing directory's own: stable while entries come and go (hazard 19). */
  private int list(long id, int fd, long cookie, DirectoryOutput out, boolean plus) {
    Node n = node(id);
    if (n == null) {
      return -Errno.ESTALE;
    }
    Scratch s = Scratch.get();
    long r = Posix.lseek(fd, cookie, Posix.SEEK_SET);
    if (r < 0) {
      return (int) r;
    }
    long buffer = s.io;
    int size = plus ? 8192 : RelationFiles.SCAN_BUFFER;
    while (true) {
      int got = Posix.getdents(fd, buffer, size);
      if (got <= 0) {
        return got;
      }
      for (int p = 0; p < got; ) {
        long e = buffer + p;
        int length = Memory.getShort(e + 16);
        String name = Memory.getString(e + 19, Memory.stringLength(e + 19, length - 19));
        long next = Memory.getLong(e + 8);
        boolean taken =
            dataDirectory.isHidden(this, n, name)
                || isKeyDirectoryName(n, name)
                || (plus
                    ? addPlus(n, name, e, next, out, s)
                    : out.add(name, Memory.getLong(e), Memory.getByte(e + 18), next));
        if (!taken) {
          return 0;
        }
        p += length;
      }
    }
  }

  private boolean isKeyDirectoryName(Node n, String name) {
    return name.equals(DataDirectory.KEY_DIRECTORY) && isDataRoot(n);
  }

  private final ThreadLocal<Entry> plusEntry = ThreadLocal.withInitial(Entry::new);

  private boolean addPlus(
      Node parent, String name, long dirent, long next, DirectoryOutput out, Scratch s) {
    if (!out.hasRoomPlus(name.length())) {
      return false;
    }
    if (name.equals(".") || name.equals("..")) {
      Entry none = plusEntry.get();
      none.node = 0;
      none.attributes.ino = Memory.getLong(dirent);
      none.attributes.mode = Memory.getByte(dirent + 18) << 12;
      return out.addPlus(name, none, next);
    }
    Entry entry = plusEntry.get();
    tree.readLock().lock();
    try {
      String path = parent.path(name);
      int r = path == null ? -Errno.ENOENT : backing.statat(rootFd, path, s.stat);
      if (r < 0) {
        entry.node = 0;
        entry.attributes.ino = Memory.getLong(dirent);
        entry.attributes.mode = Memory.getByte(dirent + 18) << 12;
        return out.addPlus(name, entry, next);
      }
      Node n = intern(parent, name, s.stat);
      fill(entry, n, s.stat, kindOf(n));
    } finally {
      tree.readLock().unlock();
    }
    if (out.addPlus(name, entry, next)) {
      return true;
    }
    forget(entry.node, 1);
    return false;
  }

  @Override
  public void releasedir(long id, long handle) {
    Posix.close((int) handle);
  }

  @Override
  public int fsyncdir(long id, long handle, boolean dataOnly) {
    return backing.fsync((int) handle);
  }

  @Override
  public int statfs(long id, Statfs out) {
    Scratch s = Scratch.get();
    int r = Posix.fstatfs(rootFd, s.io);
    if (r < 0) {
      return r;
    }
    out.blockSize = (int) Memory.getLong(s.io + 8);
    out.blocks = Memory.getLong(s.io + 16);
    out.blocksFree = Memory.getLong(s.io + 24);
    out.blocksAvailable = Memory.getLong(s.io + 32);
    out.files = Memory.getLong(s.io + 40);
    out.filesFree = Memory.getLong(s.io + 48);
    out.nameMax = (int) Memory.getLong(s.io + 64);
    out.fragmentSize = (int) Memory.getLong(s.io + 72);
    return 0;
  }

  /** The path of {@code n} for the daemon's own use; null when unlinked. */
  @Nullable String pathOf(Node n) {
    tree.readLock().lock();
    try {
      return n.path();
    } finally {
      tree.readLock().unlock();
    }
  }

  int rootFd() {
    return rootFd;
  }

  boolean isRoot(Node n) {
    return n == root;
  }
}
