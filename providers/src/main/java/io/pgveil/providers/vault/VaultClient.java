package io.pgveil.providers.vault;

import static io.pgveil.providers.vault.VaultAnswer.contains;
import static java.nio.charset.StandardCharsets.UTF_8;

import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.Failover;
import io.pgveil.providers.ServerFailure;
import io.pgveil.providers.Trust;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Sends requests to the first server that can answer them: one that is not sealed, standing by or
 * overloaded.
 *
 * <p>Every request has an HTTP client of its own, which is shut down with it: one that lives on
 * keeps what it has received, keys too, in its buffers. Requests are rare.
 */
final class VaultClient {
  private static final Duration CONNECT = Duration.ofSeconds(3);
  private static final Duration ANSWER = Duration.ofSeconds(5);
  private static final int MAX_BODY = 256 << 10;

  private final VaultSettings settings;
  private final Failover<URI> servers;
  private final TokenSource tokens;

  VaultClient(VaultSettings settings, Duration budget) {
    this.settings = settings;
    this.servers = new Failover<>(settings.addresses(), budget);
    this.tokens =
        switch (settings.credentials()) {
          case VaultSettings.TokenFile t -> new TokenSource.File(t.file());
          case VaultSettings.AppRole a -> new TokenSource.Login(a, this);
        };
  }

  TokenSource tokens() {
    return tokens;
  }

  /**
   * What is asked for.
   *
   * @param secret the part of the body that no message may show
   * @param login whether the body holds the credential, so that no header does
   */
  record Call(String method, String path, byte[] body, byte[] secret, boolean login) {
    private static final byte[] NOTHING = {};

    Call(String method, String path, byte[] body, byte[] secret) {
      this(method, path, body, secret, false);
    }

    static Call get(String path) {
      return new Call("GET", path, NOTHING, NOTHING);
    }

    @Override
    public String toString() {
      return method + " /v1/" + path;
    }
  }

  /**
   * The answer of a server that is able to answer, whatever it says; the caller closes it.
   *
   * @throws ProviderException if there is none; it tells what each address said last
   */
  VaultAnswer call(Call call) throws ProviderException {
    return servers.call((address, end) -> ask(address, call, end));
  }

  /** Asks one server; again if it refuses the token and there is another one. */
  private VaultAnswer ask(URI address, Call call, long end)
      throws ServerFailure, ProviderException {
    try (Token token = tokens.token(address, end)) {
      VaultAnswer answer = askWith(token, address, call, end);
      if (answer.status() == 403) {
        try (Token now = tokens.insteadOf(token, address, end)) {
          if (now != null) {
            answer.close();
            return askWith(now, address, call, end);
          }
        }
      }
      return answer;
    }
  }

  /** Asks one server, and the one that it sends us to. */
  VaultAnswer askWith(Token token, URI address, Call call, long end)
      throws ServerFailure, ProviderException {
    VaultAnswer answer = exchange(token, address, call, end);
    String location = answer.location();
    if (answer.status() / 100 == 3 && location != null) {
      // a standby server names the active one
      answer.close();
      answer = exchange(token, activeServer(location, call), call, end);
    }
    if (!isPassing(answer.status())) {
      return answer;
    }
    String reason = answer.reason();
    answer.close();
    throw new ServerFailure(reason, true, null);
  }

  /** Its address, if it is asked for the same thing there. */
  private URI activeServer(String location, Call call) throws ServerFailure, ProviderException {
    String suffix = "/v1/" + call.path;
    if (!location.endsWith(suffix)) {
      throw new ServerFailure(
          call + ": redirected to another place; name the server itself", false, null);
    }
    return VaultSettings.address(
        location.substring(0, location.length() - suffix.length()), settings.plainHosts());
  }

  /** Overloaded, sealed, standing by, or behind a proxy that cannot reach it. */
  private static boolean isPassing(int status) {
    return status == 429 || status == 412 || (status >= 500 && status != 501);
  }

  private VaultAnswer exchange(Token token, URI address, Call call, long end)
      throws ServerFailure, ProviderException {
    long left = Math.clamp(end - System.nanoTime(), 1, ANSWER.toNanos());
    HttpRequest request = request(token, address, call);
    HttpClient client =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(CONNECT)
            .followRedirects(HttpClient.Redirect.NEVER)
            .proxy(HttpClient.Builder.NO_PROXY)
            .sslContext(Trust.context(settings.authorities(), null))
            .sslParameters(Trust.parameters())
            .build();
    CompletableFuture<HttpResponse<byte[]>> future =
        client.sendAsync(request, BodyHandlers.limiting(BodyHandlers.ofByteArray(), MAX_BODY));
    try {
      HttpResponse<byte[]> response = future.get(left, TimeUnit.NANOSECONDS);
      byte[] body = response.body();
      VaultAnswer answer =
          new VaultAnswer(
              address,
              call.toString(),
              response.statusCode(),
              response.headers().firstValue("Location").orElse(null),
              body);
      // a server that quotes what it was sent would bring it into our messages
      byte[] said = answer.said().getBytes(UTF_8);
      if (token.isIn(said) || (call.secret.length > 0 && contains(said, call.secret))) {
        answer.close();
      }
      return answer;
    } catch (TimeoutException e) {
      throw new ServerFailure(address + " " + call + ": no answer in time", true, e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw ServerFailure.of(address + " " + call, cause);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ProviderException(Code.UNAVAILABLE, address + ": interrupted", e);
    } finally {
      future.cancel(true);
      client.shutdownNow();
    }
  }

  private HttpRequest request(Token token, URI address, Call call) throws ProviderException {
    token.requireAllowedAt(address);
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(address + "/v1/" + call.path))
            .method(
                call.method,
                call.body.length == 0
                    ? BodyPublishers.noBody()
                    : BodyPublishers.ofByteArray(call.body))
            .header("Content-Type", "application/json")
            .header("X-Vault-Request", "true");
    if (!call.login) {
      builder.header("X-Vault-Token", token.header());
    }
    if (settings.namespace() != null) {
      builder.header("X-Vault-Namespace", settings.namespace());
    }
    return builder.build();
  }
}
