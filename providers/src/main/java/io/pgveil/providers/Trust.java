package io.pgveil.providers;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.SocketException;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManagerFactory;
import org.jspecify.annotations.Nullable;

/** Whose certificates are believed. There is no way to believe none or all. */
public final class Trust {
  private static final int MAX_SIZE = 1 << 20;

  private Trust() {}

  /**
   * For connections to a server whose certificate one of them has signed.
   *
   * @param authorities PEM file, null for the JDK's own list
   */
  public static SSLContext context(@Nullable PrivateFile authorities) throws ProviderException {
    try {
      KeyStore store = null;
      if (authorities != null) {
        store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        int n = 0;
        for (Certificate c :
            CertificateFactory.getInstance("X.509")
                .generateCertificates(new ByteArrayInputStream(authorities.read(MAX_SIZE)))) {
          store.setCertificateEntry("ca" + n++, c);
        }
        if (n == 0) {
          throw new ProviderException(
              Code.REFUSED, authorities + " is refused: it holds no certificate (PEM)");
        }
      }
      TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
      trust.init(store);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, trust.getTrustManagers(), null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new ProviderException(
          Code.REFUSED,
          (authorities == null ? "the JDK's list of authorities" : authorities.toString())
              + " is refused: it cannot be read as certificates",
          e);
    }
  }

  /** Whether a connection failed because of what the peer is, which time does not mend. */
  public static boolean isRefusal(Throwable failure) {
    boolean tls = false;
    for (Throwable e = failure; e != null; e = e.getCause()) {
      if (e instanceof SocketException || e instanceof EOFException) {
        return false;
      }
      tls |= e instanceof SSLException;
    }
    return tls;
  }
}
