package io.pgveil.fuse;

/**
 * What a session has done of one operation since it started.
 *
 * @param operation its name in the protocol, for example {@code "FSYNC"}
 * @param count requests handled
 * @param nanos time from taking the request to having sent the reply, summed over all workers
 */
public record OperationStatistics(String operation, long count, long nanos) {}
