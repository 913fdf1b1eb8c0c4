package io.pgveil.keys.file;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.linux.ByteString;
import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import io.pgveil.linux.Stat;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A file of principal keys (pg_tde format 4.1): records of {@value #RECORD_SIZE} bytes, one behind
 * the other.
 *
 * <pre>
 *   0 256  key name, NUL-terminated, zero-filled
 * 256  32  key, zero-filled
 * 288   4  its length, 16 or 32
 * </pre>
 *
 * <p>The first record whose name matches counts, ASCII letter case ignored. Nothing is ever
 * removed. The keys are in the clear: the file is refused unless it is a regular file that only the
 * daemon's user or root can touch, outside the cipher directory and the mount. That is checked at
 * every use.
 *
 * <p>A key is stored by writing the whole keyring to a temporary file beside it, fsync, rename and
 * fsync of the directory, so that a crash never leaves half a record: half a record is therefore
 * damage, and nothing is stored behind one. Writers of several processes take turns by flock(2) on
 * the directory. (pg_tde itself takes no lock: do not create keys in one keyring from both at the
 * same moment.)
 */
final class FileKeyring implements KeyProvider.Storing {
  static final int RECORD_SIZE = 292;
  private static final int KEY_AT = 256;
  private static final int KEY_FIELD_SIZE = 32;
  private static final int LENGTH_AT = 288;

  /** Far more than any keyring needs; a wrong path may name anything. */
  private static final long MAX_SIZE = 64L << 20;

  private static final String TEMPORARY = ".r";

  private final Path configured;
  private final PrivateFile file;

  FileKeyring(Path configured, List<Path> forbiddenRoots) {
    this.configured = configured;
    this.file = new PrivateFile("keyring file", configured, PrivateFile.SECRET, forbiddenRoots);
  }

  @Override
  public Optional<KeyMaterial> fetch(KeyName name) throws ProviderException {
    Path path = file.resolve();
    int fd = file.open(path, Posix.O_RDONLY);
    if (fd == -Errno.ENOENT) {
      return Optional.empty();
    }
    try (Content content = read(path, fd)) {
      return content.find(name);
    } finally {
      Posix.close(fd);
    }
  }

  /** Makes sure that the file exists and is fit to hold keys. */
  void validate() throws ProviderException {
    Path path = file.resolve();
    int fd = file.open(path, Posix.O_RDONLY);
    if (fd == -Errno.ENOENT) {
      fd =
          Posix.open(
              ByteString.of(path),
              Posix.O_RDWR | Posix.O_CREAT | Posix.O_NOFOLLOW | Posix.O_NONBLOCK,
              0600);
      if (fd < 0) {
        throw cannot("open", fd);
      }
      try (Directory directory = new Directory(path)) {
        directory.sync();
      } finally {
        Posix.close(fd);
      }
      return;
    }
    Posix.close(fd);
  }

  @Override
  public void store(KeyName name, byte[] key) throws ProviderException {
    if (key.length != 16 && key.length != 32) {
      throw new IllegalArgumentException("a principal key has 16 or 32 bytes");
    }
    Path path = file.resolve();
    try (Directory directory = new Directory(path)) {
      directory.lock();
      int fd = file.open(path, Posix.O_RDONLY);
      if (fd == -Errno.ENOENT) {
        append(directory, path, new Content(0), name, key);
        return;
      }
      try (Content content = read(path, fd)) {
        append(directory, path, content, name, key);
      } finally {
        Posix.close(fd);
      }
    }
  }

  private void append(Directory directory, Path path, Content old, KeyName name, byte[] key)
      throws ProviderException {
    Optional<KeyMaterial> present = old.find(name);
    if (present.isPresent()) {
      // who finds its own key there may have been killed before the rename was durable
      directory.sync();
      present.get().close();
      throw new ProviderException(
          Code.EXISTS, "Key with name " + name + " already exists in keyring");
    }
    String temporary = path.getFileName() + TEMPORARY;
    try (Content next = new Content(old.size + RECORD_SIZE)) {
      Memory.copy(old.address, next.address, old.size);
      byte[] bytes = name.bytes();
      Memory.copyIn(bytes, 0, next.address + old.size, bytes.length);
      Memory.copyIn(key, 0, next.address + old.size + KEY_AT, key.length);
      Memory.putInt(next.address + old.size + LENGTH_AT, key.length);
      directory.replace(temporary, ByteString.of(path.getFileName()), next);
    }
  }

  /** The keyring in native memory, cleared when closed. */
  private final class Content implements AutoCloseable {
    private final Arena arena = Arena.ofConfined();
    final long address;
    final long size;

    Content(long size) {
      this.size = size;
      this.address = arena.allocate(Math.max(1, size), 8).address();
    }

    Optional<KeyMaterial> find(KeyName name) throws ProviderException {
      for (long at = address; at + RECORD_SIZE <= address + size; at += RECORD_SIZE) {
        int length = Memory.stringLength(at, KeyName.FIELD_SIZE);
        if (length == 0 || length == KeyName.FIELD_SIZE) {
          continue;
        }
        byte[] bytes = new byte[length];
        Memory.copyOut(at, bytes, 0, length);
        KeyName stored = KeyName.of(bytes);
        if (stored.equalsIgnoreCase(name)) {
          int keyLength = Memory.getInt(at + LENGTH_AT);
          if (keyLength < 0 || keyLength > KEY_FIELD_SIZE) {
            throw new ProviderException(
                Code.INVALID_KEY,
                "invalid key: unsupported key length \"%s\" in keyring file \"%s\""
                    .formatted(Integer.toUnsignedString(keyLength), configured));
          }
          byte[] key = new byte[keyLength];
          Memory.copyOut(at + KEY_AT, key, 0, keyLength);
          return Optional.of(new KeyMaterial(stored, key));
        }
      }
      if (size % RECORD_SIZE != 0) {
        throw new ProviderException(
            Code.CORRUPTED,
            "keyring file \"%s\" is corrupted: %d bytes behind the last whole record; restore it from a backup"
                .formatted(configured, size % RECORD_SIZE));
      }
      return Optional.empty();
    }

    @Override
    public void close() {
      Memory.fill(address, size, 0);
      arena.close();
    }
  }

  private Content read(Path path, int fd) throws ProviderException {
    Stat stat = new Stat();
    int r = Posix.fstat(fd, stat);
    if (r < 0) {
      throw cannot("read", r);
    }
    if (stat.size > MAX_SIZE) {
      throw new ProviderException(
          Code.CORRUPTED, "keyring file \"" + path + "\" is corrupted: it is far too large");
    }
    Content content = new Content(stat.size);
    long n = Posix.pread(fd, content.address, stat.size, 0);
    if (n != stat.size) {
      content.close();
      throw cannot("read", n < 0 ? (int) n : -Errno.EIO);
    }
    return content;
  }

  private ProviderException cannot(String what, int errno) {
    Code code =
        switch (Math.abs(errno)) {
          case Errno.ENOSPC, Errno.EDQUOT -> Code.NO_SPACE;
          // a missing file is no failure, so it is a directory that is missing
          case Errno.ENOENT -> Code.MISSING;
          default -> Code.UNAVAILABLE;
        };
    return new ProviderException(
        code,
        "Failed to %s keyring file %s: %s".formatted(what, configured, Errno.describe(errno)));
  }

  /** The keyring's directory, open. */
  private final class Directory implements AutoCloseable {
    private final int fd;

    Directory(Path file) throws ProviderException {
      Path parent = file.getParent();
      fd =
          Posix.open(
              ByteString.of(parent == null ? file : parent), Posix.O_RDONLY | Posix.O_DIRECTORY, 0);
      if (fd < 0) {
        throw cannot("open directory of", fd);
      }
    }

    /** Waits for other writers; closing unlocks. */
    void lock() throws ProviderException {
      int r = Posix.flock(fd, Posix.LOCK_EX);
      if (r < 0) {
        throw cannot("lock directory of", r);
      }
    }

    void sync() throws ProviderException {
      int r = Posix.fsync(fd);
      if (r < 0) {
        throw cannot("fsync directory of", r);
      }
    }

    void replace(String temporary, String name, Content content) throws ProviderException {
      Posix.unlinkat(fd, ByteString.of(temporary), 0);
      int file =
          Posix.openat(
              fd,
              ByteString.of(temporary),
              Posix.O_WRONLY | Posix.O_CREAT | Posix.O_EXCL | Posix.O_NOFOLLOW,
              0600);
      if (file < 0) {
        throw cannot("write", file);
      }
      try {
        long n = Posix.pwrite(file, content.address, content.size, 0);
        if (n < 0) {
          throw cannot("write", (int) n);
        }
        int r = Posix.fsync(file);
        if (r < 0) {
          throw cannot("fsync", r);
        }
        r = Posix.renameat(fd, ByteString.of(temporary), fd, name, 0);
        if (r < 0) {
          throw cannot("replace", r);
        }
      } catch (ProviderException e) {
        Posix.unlinkat(fd, ByteString.of(temporary), 0);
        throw e;
      } finally {
        Posix.close(file);
      }
      sync();
    }

    @Override
    public void close() {
      Posix.close(fd);
    }
  }

  @Override
  public void close() {}

  @Override
  public String toString() {
    return "FileKeyring[" + configured + "]";
  }
}
