package io.pgveil.providers;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
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
   * @param client what we show to the server, null for nothing
   */
  public static SSLContext context(
      @Nullable PrivateFile authorities, @Nullable ClientCertificate client)
      throws ProviderException {
    KeyManager[] identity = client == null ? null : new KeyManager[] {client.keyManager()};
    try {
      KeyStore store = null;
      if (authorities != null) {
        store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        int n = 0;
        for (X509Certificate c : certificates(authorities)) {
          store.setCertificateEntry("ca" + n++, c);
        }
      }
      TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
      trust.init(store);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(identity, trust.getTrustManagers(), null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw unreadable(authorities == null ? "the JDK's list of authorities" : authorities, e);
    }
  }

  /** Versions of TLS that are spoken. */
  public static SSLParameters parameters() {
    return new SSLParameters(null, new String[] {"TLSv1.3", "TLSv1.2"});
  }

  /** All of a PEM file, at least one. */
  static List<X509Certificate> certificates(PrivateFile file) throws ProviderException {
    try {
      List<X509Certificate> all =
          CertificateFactory.getInstance("X.509")
              .generateCertificates(new ByteArrayInputStream(file.read(MAX_SIZE)))
              .stream()
              .map(X509Certificate.class::cast)
              .toList();
      if (all.isEmpty()) {
        throw new ProviderException(
            Code.REFUSED, file + " is refused: it holds no certificate (PEM)");
      }
      return all;
    } catch (CertificateException e) {
      throw unreadable(file, e);
    }
  }

  private static ProviderException unreadable(Object what, Exception cause) {
    return new ProviderException(
        Code.REFUSED, what + " is refused: it cannot be read as certificates", cause);
  }
}
