package io.pgveil.reader;

/** WAL from {@code start} to before {@code end}; clear unless {@code encrypted}. */
public record WalRange(
    WalLocation start, WalLocation end, boolean encrypted, Secret key, Bytes baseIv) {}
