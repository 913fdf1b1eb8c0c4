package io.pgveil.keys;

import io.pgveil.keys.KeyException.Kind;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A file whose entries are wrapped by the principal key that its signed header names.
 *
 * <p>The content is held in memory from the first use on; the file is only written after that.
 */
abstract sealed class KeyFile permits RelationKeys, WalKeys, SealKeys {
  final KeyDirectory directory;
  final String fileName;

  /** Whose principal key this is, as the header says it. */
  final Scope scope;

  /** Serialises writes to the file; taken before {@link #state}. */
  final ReentrantLock writes = new ReentrantLock();

  /** Guards the content in memory: everything below and all of the subclass. */
  final ReentrantLock state = new ReentrantLock();

  private boolean loaded;
  private @Nullable SignedHeader header;
  private @Nullable PrincipalKey principal;

  /** Set when an fsync failed: no later change may claim to be durable. */
  private @Nullable KeyException failure;

  KeyFile(KeyDirectory directory, String fileName, Scope scope) {
    this.directory = directory;
    this.fileName = fileName;
    this.scope = scope;
  }

  /** Takes the file's content in; null if there is no file. Called once, under {@link #state}. */
  abstract @Nullable SignedHeader parse(byte @Nullable [] content) throws KeyException;

  /** The file's new content, and what to do in memory when it is durable. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Rewrapped(byte[] content, Runnable adopt) {}

  /**
   * Makes the file's content under another principal key. Called under both locks.
   *
   * @param from null if there was no header, and so no entry
   */
  abstract Rewrapped rewrap(SignedHeader fresh, @Nullable KeyWrap from, KeyWrap to)
      throws KeyException;

  /** The file whose principal key this one takes over when it has none; null for none. */
  abstract @Nullable KeyFile fallback();

  /** Whether there is nothing to protect, not even an entry that is garbled. */
  abstract boolean isEmpty() throws KeyException;

  /** Forgets what subclasses hold; called under {@link #state}. */
  abstract void forgetEntries();

  /** Reads the file if that has not happened. */
  final void load() throws KeyException {
    state.lock();
    try {
      if (!loaded) {
        try {
          header = parse(directory.files().read(fileName));
          loaded = true;
        } finally {
          if (!loaded) {
            forgetEntries();
          }
        }
      }
    } finally {
      state.unlock();
    }
  }

  /** The header, or null if no principal key is set. */
  final @Nullable SignedHeader header() throws KeyException {
    state.lock();
    try {
      load();
      return header;
    } finally {
      state.unlock();
    }
  }

  final boolean hasHeader() throws KeyException {
    return header() != null;
  }

  /** Checks and reads a header of this file. */
  final SignedHeader readHeader(byte[] content) throws KeyException {
    SignedHeader h = SignedHeader.read(content, 8);
    if (h == null) {
      throw corrupted("its header holds no key name");
    }
    if (h.databaseId() != scope.oid()) {
      throw corrupted("its header belongs to " + new Scope(h.databaseId()) + ", not to " + scope);
    }
    return h;
  }

  /** The principal key, if it is set and loaded; called under {@link #state}. */
  final @Nullable PrincipalKey loadedPrincipal() {
    return principal;
  }

  private boolean uses(PrincipalKey key) {
    state.lock();
    try {
      return key.equals(principal);
    } finally {
      state.unlock();
    }
  }

  /**
   * The principal key that the header names, fetched if need be and checked against the signature;
   * null without a header. Called with no lock that another file needs.
   */
  final @Nullable PrincipalKey principal() throws KeyException {
    while (true) {
      SignedHeader h;
      state.lock();
      try {
        h = header();
        if (h == null || principal != null) {
          return principal;
        }
      } finally {
        state.unlock();
      }
      PrincipalKey fetched = directory.principalKeys().acquire(h, scope, directory.path(fileName));
      state.lock();
      try {
        if (h.equals(header) && principal == null) {
          principal = fetched;
          return fetched;
        }
      } finally {
        state.unlock();
      }
      // rotated or fetched by another thread meanwhile
      directory.principalKeys().release(fetched);
    }
  }

  /**
   * As {@link #principal()}, and where no principal key is set the {@link #fallback()}'s is taken
   * over: a header signed with it is written durably (pg_tde format 4.3).
   */
  final PrincipalKey principalOrFallback() throws KeyException {
    while (true) {
      PrincipalKey own = principal();
      if (own != null) {
        return own;
      }
      KeyFile source = fallback();
      PrincipalKey theirs =
          source == null
              ? null
              : source.fallback() == null ? source.principal() : source.principalOrFallback();
      if (source == null || theirs == null) {
        throw notConfigured();
      }
      directory.requireWritable();
      directory.headers().lock();
      try {
        SignedHeader from = source.header();
        if (from != null && source.uses(theirs) && !hasHeader()) {
          setPrincipal(theirs, from.created());
          KeyDirectory.LOG.info(
              "{} took over principal key {} of {}", scope, theirs.id().name(), source.scope);
        }
      } finally {
        directory.headers().unlock();
      }
    }
  }

  /**
   * Wraps everything under another principal key and names it in the header; the first principal
   * key likewise. The present key must be loaded. The caller holds {@link KeyDirectory#headers()}.
   */
  final void setPrincipal(PrincipalKey next, Instant created) throws KeyException {
    writes.lock();
    state.lock();
    try {
      load();
      checkUsable();
      PrincipalKey old = principal;
      if (header != null && old == null) {
        throw new IllegalStateException(fileName + ": principal key not loaded");
      }
      SignedHeader fresh = SignedHeader.sign(scope.oid(), next, created, directory.random());
      Rewrapped made;
      try (KeyWrap to = new KeyWrap(next, directory.random())) {
        if (old == null) {
          made = rewrap(fresh, null, to);
        } else {
          try (KeyWrap from = new KeyWrap(old, directory.random())) {
            made = rewrap(fresh, from, to);
          }
        }
      }
      KeyException unsynced = null;
      try {
        directory.files().replace(fileName, made.content);
      } catch (KeyException e) {
        if (e.kind() != Kind.SYNC_FAILED) {
          throw e;
        }
        // the new file is there, but a crash may bring the old one back: both open
        unsynced = e;
      }
      made.adopt.run();
      header = fresh;
      directory.principalKeys().retain(next);
      principal = next;
      if (old != null) {
        directory.principalKeys().release(old);
      }
      if (unsynced != null) {
        fail(unsynced);
        throw unsynced;
      }
    } finally {
      state.unlock();
      writes.unlock();
    }
  }

  /**
   * Removes the file durably, unless it holds an entry: one may have been made since the caller
   * looked. The caller holds {@link KeyDirectory#headers()}.
   *
   * @return whether it is removed
   */
  final boolean removeIfEmpty() throws KeyException {
    writes.lock();
    state.lock();
    try {
      if (!isEmpty()) {
        return false;
      }
      directory.files().remove(List.of(fileName));
      forget();
      loaded = true;
      return true;
    } finally {
      state.unlock();
      writes.unlock();
    }
  }

  /** Forgets content and principal key. */
  final void forget() {
    state.lock();
    try {
      if (principal != null) {
        directory.principalKeys().release(principal);
      }
      principal = null;
      header = null;
      loaded = false;
      forgetEntries();
    } finally {
      state.unlock();
    }
  }

  /** Called under {@link #state}: remembers that an fsync failed. */
  final void fail(KeyException e) {
    failure = e;
    KeyDirectory.LOG.error("{}: no change of this file is accepted any more", e.getMessage());
  }

  /** Called under {@link #state}: refuses changes after a failed fsync. */
  final void checkUsable() throws KeyException {
    if (failure != null) {
      throw new KeyException(
          Kind.SYNC_FAILED,
          failure.primary(),
          null,
          null,
          "an earlier fsync failed, so "
              + fileName
              + " takes no more changes until it is opened anew",
          failure);
    }
  }

  /** Called under {@link #state}. */
  final boolean hasFailed() {
    return failure != null;
  }

  final KeyException corrupted(String why) {
    String what =
        switch (this) {
          case RelationKeys r -> "TDE map file \"" + directory.path(fileName) + "\" is corrupted";
          case WalKeys w ->
              "WAL key file \"" + directory.path(fileName) + "\" is corrupted or has wrong version";
          case SealKeys s -> "seal key file \"" + directory.path(fileName) + "\" is corrupted";
        };
    return new KeyException(
        Kind.CORRUPTED, what, null, null, why + "; restore it from a backup", null);
  }

  /** An entry that its principal key does not open. */
  final KeyException undecryptable(String entry) {
    return new KeyException(
        Kind.CORRUPTED,
        "Failed to decrypt key, incorrect principal key or corrupted key file",
        null,
        null,
        entry + " of " + directory.path(fileName) + "; restore the file from a backup",
        null);
  }

  private KeyException notConfigured() {
    return new KeyException(
        Kind.NOT_CONFIGURED,
        "principal key not configured",
        null,
        scope.isDatabase()
            ? "Use pg_tde_set_key_using_database_key_provider() or"
                + " pg_tde_set_key_using_global_key_provider() to configure one."
            : "Use pg_tde_set_server_key_using_global_key_provider() to configure one.",
        "for " + scope,
        null);
  }
}
