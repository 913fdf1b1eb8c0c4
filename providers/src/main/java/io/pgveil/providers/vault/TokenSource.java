package io.pgveil.providers.vault;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.ServerFailure;
import io.pgveil.providers.vault.VaultClient.Call;
import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where the token of each request comes from. */
sealed interface TokenSource extends AutoCloseable {
  /**
   * The token for a request, which the caller closes.
   *
   * @param address where a login goes, if one is needed
   * @param end of the time for it, as of {@link System#nanoTime}
   */
  Token token(URI address, long end) throws ServerFailure, ProviderException;

  /** Another one than a token that a server has refused; null if there is none. */
  @Nullable Token insteadOf(Token refused, URI address, long end)
      throws ServerFailure, ProviderException;

  /** Tells the token from others without keeping it; empty if there is none. */
  byte[] fingerprint() throws ProviderException;

  /** Whether a token that comes to its end can be replaced here, and then forgets it. */
  boolean replace();

  @Override
  void close();

  /**
   * A file, read each time.
   *
   * @param file the token, and the addresses that may get it
   */
  record File(PrivateFile file) implements TokenSource {
    @Override
    public Token token(URI address, long end) throws ProviderException {
      return Token.read(file);
    }

    @Override
    public @Nullable Token insteadOf(Token refused, URI address, long end)
        throws ProviderException {
      Token now = Token.read(file);
      if (now.isSameAs(refused)) {
        now.close();
        return null;
      }
      return now;
    }

    @Override
    public byte[] fingerprint() throws ProviderException {
      try (Token token = Token.read(file)) {
        return token.fingerprint();
      }
    }

    @Override
    public boolean replace() {
      return false;
    }

    @Override
    public void close() {}
  }

  /**
   * A login by AppRole: {@code POST auth/MOUNT/login} with role id and secret id gives a token,
   * which is kept until it is refused or ends. Both files are read at each login; the secret id's
   * may name the addresses that may get it, and the token goes nowhere else.
   *
   * <p>The monitor guards the token and is held while a server is asked, so that those who wait for
   * a token make one login.
   */
  final class Login implements TokenSource {
    private static final Logger LOG = LoggerFactory.getLogger(TokenSource.class);

    private final VaultSettings.AppRole role;
    private final VaultClient client;
    private @Nullable Token token;
    private boolean closed;

    Login(VaultSettings.AppRole role, VaultClient client) {
      this.role = role;
      this.client = client;
    }

    @Override
    public synchronized Token token(URI address, long end) throws ServerFailure, ProviderException {
      Token present = token;
      if (present == null) {
        present = login(address, end);
        if (closed) {
          // for a request that was on its way; nobody would clear another
          return present;
        }
        token = present;
      }
      return present.copy();
    }

    @Override
    public synchronized Token insteadOf(Token refused, URI address, long end)
        throws ServerFailure, ProviderException {
      if (token != null && token.isSameAs(refused)) {
        replace();
      }
      return token(address, end);
    }

    private Token login(URI address, long end) throws ServerFailure, ProviderException {
      byte[] body = {};
      byte[] secret = {};
      try (Token roleId = Token.read(role.roleId());
          Token secretId = Token.read(role.secretId())) {
        secret = secretId.json();
        body = body(roleId.json(), secret);
        Call call = new Call("POST", "auth/" + role.mount() + "/login", body, secret, true);
        try (VaultAnswer answer = client.askWith(secretId, address, call, end)) {
          if (answer.status() != 200) {
            throw new ProviderException(
                Code.REFUSED,
                "%s; the role id, the secret id or approlePath is not valid (any more)"
                    .formatted(answer.reason()));
          }
          byte[] issued = answer.token();
          if (issued == null) {
            throw new ProviderException(
                Code.INVALID_RESPONSE, answer.address() + " " + call + ": returned no token");
          }
          LOG.debug("logged in to the key provider at {}", answer.address());
          return secretId.issued(issued);
        } catch (IOException e) {
          // without the cause, which quotes the answer
          throw new ProviderException(
              Code.INVALID_RESPONSE, address + " " + call + ": returned incorrect JSON");
        }
      } finally {
        Arrays.fill(body, (byte) 0);
        Arrays.fill(secret, (byte) 0);
      }
    }

    private static byte[] body(byte[] roleId, byte[] secretId) {
      byte[] head = "{\"role_id\":".getBytes(US_ASCII);
      byte[] middle = ",\"secret_id\":".getBytes(US_ASCII);
      byte[] body = new byte[head.length + roleId.length + middle.length + secretId.length + 1];
      ByteBuffer.wrap(body).put(head).put(roleId).put(middle).put(secretId).put((byte) '}');
      return body;
    }

    @Override
    public synchronized byte[] fingerprint() {
      return token == null ? new byte[0] : token.fingerprint();
    }

    @Override
    public synchronized boolean replace() {
      if (token != null) {
        token.close();
        token = null;
      }
      return true;
    }

    @Override
    public synchronized void close() {
      closed = true;
      replace();
    }
  }
}
