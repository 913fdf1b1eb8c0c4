package io.pgveil.app.daemon;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

/**
 * Turns SIGINT, SIGTERM and SIGHUP into an orderly end: the main thread waits for the request,
 * stops what it has started, and tells when it is done; only then may the JVM end, with the exit
 * code of the main thread and not that of the signal.
 */
public final class StopRequest {
  private final CountDownLatch requested = new CountDownLatch(1);
  private final CountDownLatch finished = new CountDownLatch(1);
  private volatile int exitCode;

  private final Thread hook = Thread.ofPlatform().name("stop").unstarted(this::signalled);

  private StopRequest() {}

  /** From now on a signal makes a request. */
  public static StopRequest onSignal() {
    StopRequest stop = new StopRequest();
    Runtime.getRuntime().addShutdownHook(stop.hook);
    return stop;
  }

  private void signalled() {
    requested.countDown();
    boolean interrupted = true;
    while (interrupted) {
      try {
        finished.await();
        interrupted = false;
      } catch (InterruptedException e) {
        // nobody else may end the JVM before everything is stopped
      }
    }
    Runtime.getRuntime().halt(exitCode);
  }

  /** Also asks for the end when this completes, in either way. */
  public void when(CompletableFuture<?> event) {
    CompletableFuture<?> _ = event.whenComplete((result, failure) -> requested.countDown());
  }

  public void await() throws InterruptedException {
    requested.await();
  }

  /** Whether the end has been asked for. */
  public boolean isRequested() {
    return requested.getCount() == 0;
  }

  /** Everything is stopped; if a signal has asked for that, the program ends with {@code code}. */
  public void finished(int code) {
    exitCode = code;
    finished.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // it is running, and ends the JVM now
    }
  }
}
