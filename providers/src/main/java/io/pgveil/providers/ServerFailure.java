package io.pgveil.providers;

import java.io.EOFException;
import java.net.ConnectException;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.net.http.HttpConnectTimeoutException;
import java.nio.channels.UnresolvedAddressException;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/** A request that failed at one server; another, or the same one later, may answer it. */
public final class ServerFailure extends Exception {
  private static final long serialVersionUID = 1L;

  private final boolean passing;

  /**
   * @param message names the server
   * @param passing whether it may be another thing in a moment
   */
  public ServerFailure(String message, boolean passing, @Nullable Throwable cause) {
    super(message, cause);
    this.passing = passing;
  }

  /**
   * A connection that failed.
   *
   * @param what server and request
   */
  public static ServerFailure of(String what, Throwable cause) {
    return new ServerFailure(what + ": " + describe(cause), !isRefusal(cause), cause);
  }

  boolean passing() {
    return passing;
  }

  /** Whether a connection failed because of what the peer is, which time does not mend. */
  private static boolean isRefusal(Throwable failure) {
    boolean tls = false;
    for (Throwable e = failure; e != null; e = e.getCause()) {
      if (e instanceof SocketException || e instanceof EOFException) {
        return false;
      }
      tls |= e instanceof SSLException;
    }
    return tls;
  }

  /** The innermost reason: the classes around it say little. */
  private static String describe(Throwable failure) {
    String text = null;
    for (Throwable e = failure; e != null; e = e.getCause()) {
      text = e instanceof UnresolvedAddressException ? "unknown host" : text;
      text = e.getMessage() == null ? text : e.getMessage();
    }
    String what =
        switch (failure) {
          case UnknownHostException _ -> "unknown host";
          case ConnectException _ -> "cannot connect";
          case HttpConnectTimeoutException _ -> "cannot connect";
          case SSLException _ -> "TLS";
          default -> "no answer";
        };
    return text == null ? what : what + ": " + text;
  }
}
