package io.pgveil.providers;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;
import org.jspecify.annotations.Nullable;

/**
 * What we show to a server: a certificate and its private key, as they are in their files at that
 * moment, so that a new certificate needs no restart.
 *
 * @param chain PEM, the certificate first, then those between it and the authority
 * @param key PEM, PKCS #8 without a password (RFC 5958); what OpenSSL writes by default
 */
public record ClientCertificate(PrivateFile chain, PrivateFile key) {
  private static final int MAX_KEY_SIZE = 64 << 10;
  private static final String BEGIN = "-----BEGIN PRIVATE KEY-----";
  private static final String END = "-----END PRIVATE KEY-----";

  X509ExtendedKeyManager keyManager() throws ProviderException {
    List<X509Certificate> certificates = Trust.certificates(chain);
    X509Certificate own = certificates.getFirst();
    try {
      own.checkValidity();
    } catch (CertificateException e) {
      throw new ProviderException(
          Code.REFUSED,
          "%s is refused: it is valid from %s to %s"
              .formatted(chain, own.getNotBefore().toInstant(), own.getNotAfter().toInstant()),
          e);
    }
    return new Shown(certificates.toArray(X509Certificate[]::new), privateKey(own));
  }

  private PrivateKey privateKey(X509Certificate own) throws ProviderException {
    String algorithm = own.getPublicKey().getAlgorithm();
    byte[] pem = key.read(MAX_KEY_SIZE);
    byte[] der = {};
    try {
      der = decode(pem);
      PrivateKey made =
          KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(der));
      if (!belong(own, made)) {
        throw refused("it is not the key of " + chain);
      }
      return made;
    } catch (GeneralSecurityException | IllegalArgumentException e) {
      // without the cause, which may quote the key
      throw refused("it holds no key for the certificate, which is for " + algorithm);
    } finally {
      Arrays.fill(pem, (byte) 0);
      Arrays.fill(der, (byte) 0);
    }
  }

  /** The first private key of a PEM file; the caller clears it. */
  private byte[] decode(byte[] pem) throws ProviderException {
    int begin = indexOf(pem, BEGIN, 0);
    int end = begin < 0 ? -1 : indexOf(pem, END, begin);
    if (end < 0) {
      throw refused(
          indexOf(pem, " PRIVATE KEY-----", 0) < 0
              ? "it holds no private key (PEM)"
              : "its key is not in PKCS #8 or has a password; convert it with"
                  + " openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW");
    }
    byte[] text = Arrays.copyOfRange(pem, begin + BEGIN.length(), end);
    try {
      return Base64.getMimeDecoder().decode(text);
    } finally {
      Arrays.fill(text, (byte) 0);
    }
  }

  private static int indexOf(byte[] text, String word, int from) {
    byte[] wanted = word.getBytes(ISO_8859_1);
    for (int at = from; at + wanted.length <= text.length; at++) {
      if (Arrays.equals(text, at, at + wanted.length, wanted, 0, wanted.length)) {
        return at;
      }
    }
    return -1;
  }

  /** Whether what the key signs the certificate confirms; a server would only say "no". */
  private static boolean belong(X509Certificate certificate, PrivateKey key)
      throws GeneralSecurityException {
    Signature signature =
        Signature.getInstance(
            switch (key.getAlgorithm()) {
              case "RSA" -> "SHA256withRSA";
              case "EC" -> "SHA256withECDSA";
              default -> key.getAlgorithm();
            });
    signature.initSign(key);
    byte[] signed = signature.sign();
    signature.initVerify(certificate.getPublicKey());
    return signature.verify(signed);
  }

  private ProviderException refused(String reason) {
    return new ProviderException(Code.REFUSED, key + " is refused: " + reason);
  }

  /**
   * Shows the certificate to every server that wants one of its kind, also if it names other
   * authorities: its refusal tells more than a certificate that was kept back.
   */
  private static final class Shown extends X509ExtendedKeyManager {
    private static final String ALIAS = "client";
    private final X509Certificate[] chain;
    private final PrivateKey key;

    Shown(X509Certificate[] chain, PrivateKey key) {
      this.chain = chain;
      this.key = key;
    }

    private @Nullable String alias(String... keyTypes) {
      return Arrays.asList(keyTypes).contains(key.getAlgorithm()) ? ALIAS : null;
    }

    @Override
    public String @Nullable [] getClientAliases(String keyType, Principal @Nullable [] issuers) {
      return alias(keyType) == null ? null : new String[] {ALIAS};
    }

    @Override
    public @Nullable String chooseClientAlias(
        String[] keyTypes, Principal @Nullable [] issuers, @Nullable Socket socket) {
      return alias(keyTypes);
    }

    @Override
    public @Nullable String chooseEngineClientAlias(
        String[] keyTypes, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
      return alias(keyTypes);
    }

    @Override
    public String @Nullable [] getServerAliases(String keyType, Principal @Nullable [] issuers) {
      return null;
    }

    @Override
    public @Nullable String chooseServerAlias(
        String keyType, Principal @Nullable [] issuers, @Nullable Socket socket) {
      return null;
    }

    @Override
    public X509Certificate[] getCertificateChain(String alias) {
      return chain.clone();
    }

    @Override
    public PrivateKey getPrivateKey(String alias) {
      return key;
    }
  }
}
