package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * Unsets the default key (pg_tde behaviour 4.6), and with it the key of each database and of the
 * server that is the same and has nothing to protect. All is checked before anything is removed.
 *
 * <p>Ours: a server key that wraps seal keys is in use, since every sealed file needs it.
 */
public record DeleteDefaultKey() {

  public void run(KeyDirectory directory) throws KeyException {
    directory.requireWritable();
    directory.exclusively(
        () -> {
          delete(directory);
          return null;
        });
  }

  private static void delete(KeyDirectory directory) throws KeyException {
    SignedHeader key = directory.defaultKey().header();
    if (key == null) {
      throw new KeyException(Kind.REFUSED, "default principal key is not set");
    }
    directory.headers().lock();
    try {
      List<KeyFile> unused = new ArrayList<>();
      for (int oid : directory.databases()) {
        RelationKeys keys = directory.relationKeys(oid);
        if (key.namesSameKey(keys.header())) {
          if (!keys.isEmpty()) {
            throw inUse(keys);
          }
          unused.add(keys);
        }
      }
      if (key.namesSameKey(directory.walKeys().header())) {
        if (!directory.walKeys().isEmpty()) {
          throw inUse(directory.walKeys());
        }
        unused.add(directory.walKeys());
      }
      if (key.namesSameKey(directory.sealKeys().header())) {
        throw inUse(directory.sealKeys());
      }
      unused.add(directory.defaultKey());
      for (KeyFile file : unused) {
        if (!file.removeIfEmpty()) {
          throw inUse(file);
        }
      }
      KeyDirectory.LOG.info("deleted the default principal key");
    } finally {
      directory.headers().unlock();
    }
  }

  private static KeyException inUse(KeyFile file) {
    String hint =
        switch (file) {
          case WalKeys _ -> "There are WAL encryption keys.";
          case SealKeys _ -> "There are sealed files: set another server key first.";
          case RelationKeys keys ->
              "There are encrypted tables in the database with id: "
                  + Integer.toUnsignedString(keys.scope.oid())
                  + ".";
        };
    return new KeyException(
        Kind.IN_USE, "cannot delete default principal key", null, hint, null, null);
  }
}
