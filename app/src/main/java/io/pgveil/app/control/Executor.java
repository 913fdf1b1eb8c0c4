package io.pgveil.app.control;

import io.pgveil.app.error.CommandException;

/** Executes requests on one cluster; the same implementation for stopped and mounted clusters. */
@FunctionalInterface
public interface Executor {
  /**
   * Does what is asked. May be called by several threads at once.
   *
   * @throws CommandException if it cannot be done; then nothing was changed
   */
  Reply execute(Request request) throws CommandException;
}
