package io.pgveil.datadir.check;

import static org.assertj.core.api.Assertions.assertThat;

import io.pgveil.datadir.Backing;
import io.pgveil.datadir.DataDirectory;
import io.pgveil.fuse.FileSystem;
import io.pgveil.keys.AddProvider;
import io.pgveil.keys.CipherType;
import io.pgveil.keys.CreateKey;
import io.pgveil.keys.KeyDirectory;
import io.pgveil.keys.KeyException;
import io.pgveil.keys.Scope;
import io.pgveil.keys.SetKey;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A small cipher directory, written through the file system that a mount would show. */
final class Cluster {
  final Path root;
  final Path cipher;
  final Path tablespace;
  final Path keyring;

  Cluster(Path root) throws Exception {
    this.root = root;
    cipher = Files.createDirectory(root.resolve("cipher"));
    tablespace = Files.createDirectory(root.resolve("tablespace"));
    keyring = root.resolve("keyring");
    try (KeyDirectory keys = KeyDirectory.create(cipher.resolve("pg_tde"), settings(false))) {
      new AddProvider(Scope.SERVER, "file", "ring", "{\"path\":\"" + keyring + "\"}").run(keys);
      new CreateKey(Scope.SERVER, "ring", "principal", CipherType.AES_128).run(keys);
      new SetKey(Scope.DEFAULT, Scope.SERVER, "ring", "principal").run(keys);
      DataDirectory.Options options =
          new DataDirectory.Options(
              root.resolve("mount"),
              CipherType.AES_128,
              true,
              List.of(served()),
              false,
              new Backing());
      try (DataDirectory d = DataDirectory.open(cipher, keys, options)) {
        fill(new View(d.views().get(0).fileSystem()), new View(d.views().get(1).fileSystem()));
      }
    }
  }

  DataDirectory.Tablespace served() {
    return new DataDirectory.Tablespace(root.resolve("clear-tablespace"), tablespace);
  }

  private KeyDirectory.Settings settings(boolean readOnly) {
    return new KeyDirectory.Settings(
        List.of(cipher, root.resolve("mount")), CipherType.AES_128, readOnly);
  }

  KeyDirectory openKeys() throws KeyException {
    return KeyDirectory.open(cipher.resolve("pg_tde"), settings(true));
  }

  Report verify(DataDirectory.Tablespace... tablespaces) throws KeyException {
    try (KeyDirectory keys = openKeys()) {
      Verifier.Options options = new Verifier.Options(List.of(tablespaces), 2);
      return new Verifier(cipher, keys, options).verify((done, total) -> {});
    }
  }

  private void fill(View v, View outside) throws IOException {
    for (String d :
        List.of("base", "base/5", "base/pgsql_tmp", "global", "log", "pg_tblspc", "pg_wal")) {
      v.mkdir(d);
    }
    v.mkdir("pg_tblspc/16400");
    v.mkdir("pg_tblspc/16400/PG_18_202506291");
    v.mkdir("pg_tblspc/16400/PG_18_202506291/5");
    v.write("PG_VERSION", "18\n".getBytes(StandardCharsets.US_ASCII));
    v.write("log/empty", new byte[0]);
    v.write("log/postgresql.log", new byte[3000]);
    v.write("base/5/pg_filenode.map", ClearFiles.relationMap());
    v.write("base/5/16384", ClearFiles.relation(70, 1));
    v.write("base/5/16384_fsm", ClearFiles.relation(3, 2));
    v.write("base/5/16384_vm", ClearFiles.relation(1, 3));
    v.write("base/5/16385", new byte[0]);
    v.write("base/5/16386_init", ClearFiles.relation(1, 4));
    v.write("base/5/t3_16387", ClearFiles.relation(1, 5));
    v.write("base/pgsql_tmp/pgsql_tmp1.0", new byte[100]);
    v.write("global/1260", ClearFiles.relation(1, 6));
    v.write("pg_tblspc/16400/PG_18_202506291/5/16388", ClearFiles.relation(2, 7));
    v.symlink("pg_tblspc/16401", served().mountPoint().toString());
    outside.mkdir("PG_18_202506291");
    outside.mkdir("PG_18_202506291/5");
    outside.write("PG_18_202506291/5/16389", ClearFiles.relation(1, 8));

    ClearFiles.Wal old = new ClearFiles.Wal(1, 1);
    old.record(100_000);
    v.write("pg_wal/000000010000000000000001", old.segment(0));
    ClearFiles.Wal wal = new ClearFiles.Wal(2, 3);
    while (wal.at() < ClearFiles.WAL_SEGMENT + 200_000) {
      wal.record(wal.at() % 12_345);
    }
    wal.switchSegment();
    wal.record(20_000);
    wal.record(90);
    for (int i = 0; i < 3; i++) {
      v.write("pg_wal/00000001000000000000000" + (2 + i), wal.segment(i));
    }
    v.rename("pg_wal/000000010000000000000001", "pg_wal/000000010000000000000005");
    v.write("global/pg_control", ClearFiles.control(wal.lastRecord, 1));
  }

  /** Paths over a {@link FileSystem}. */
  private static final class View {
    private final FileSystem fs;
    private final FileSystem.Caller caller =
        new FileSystem.Caller(Posix.geteuid(), Posix.getegid(), 1);

    View(FileSystem fs) {
      this.fs = fs;
    }

    private long directory(String path) {
      long node = FileSystem.ROOT;
      String[] names = path.split("/");
      for (int i = 0; i < names.length - 1; i++) {
        FileSystem.Entry e = new FileSystem.Entry();
        assertThat(fs.lookup(node, names[i], e)).isZero();
        node = e.node;
      }
      return node;
    }

    private static String name(String path) {
      return path.substring(path.lastIndexOf('/') + 1);
    }

    void mkdir(String path) {
      FileSystem.Entry e = new FileSystem.Entry();
      assertThat(fs.mkdir(caller, directory(path), name(path), 0700, e)).isZero();
    }

    void symlink(String path, String target) {
      FileSystem.Entry e = new FileSystem.Entry();
      assertThat(fs.symlink(caller, directory(path), name(path), target, e)).isZero();
    }

    void rename(String from, String to) {
      assertThat(fs.rename(directory(from), name(from), directory(to), name(to), 0)).isZero();
    }

    void write(String path, byte[] content) {
      FileSystem.Entry e = new FileSystem.Entry();
      FileSystem.OpenResult o = new FileSystem.OpenResult();
      int flags = Posix.O_RDWR | Posix.O_CREAT;
      assertThat(fs.create(caller, directory(path), name(path), 0600, flags, e, o)).isZero();
      try (Arena arena = Arena.ofConfined()) {
        int chunk = 1 << 17;
        long address = arena.allocate(chunk).address();
        for (int at = 0; at < content.length; at += chunk) {
          int n = Math.min(chunk, content.length - at);
          Memory.copyIn(content, at, address, n);
          assertThat(fs.write(e.node, o.handle, at, n, 0, false, address)).isEqualTo(n);
        }
      }
      assertThat(fs.fsync(e.node, o.handle, false)).isZero();
      fs.release(e.node, o.handle, flags);
    }
  }
}
