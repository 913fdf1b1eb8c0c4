package io.pgveil.providers.vault;

import static java.util.Locale.ROOT;

import io.pgveil.keys.KeyProviderFactory.Context;
import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.Settings;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The options of a provider, checked.
 *
 * @param addresses of the servers, in the order in which they are tried; without a final slash
 * @param mount path of the engine, escaped for a URL
 * @param namespace null for the root namespace
 * @param credentials what makes the server answer
 * @param authorities the authorities that may sign the server's certificate, as PEM; null for those
 *     of the JDK
 * @param plainHosts hosts beside loopback that may be asked without TLS
 */
record VaultSettings(
    List<URI> addresses,
    String mount,
    @Nullable String namespace,
    Credentials credentials,
    @Nullable PrivateFile authorities,
    List<String> plainHosts) {
  /** Where the token of a request comes from. */
  sealed interface Credentials {}

  /** A file holds it. */
  record TokenFile(PrivateFile file) implements Credentials {}

  /**
   * A login gives it.
   *
   * @param mount path of the authentication method, escaped for a URL
   */
  record AppRole(PrivateFile roleId, PrivateFile secretId, String mount) implements Credentials {}

  static final String URL = "url";
  static final String MOUNT_PATH = "mountPath";
  static final String TOKEN_PATH = "tokenPath";
  static final String CA_PATH = "caPath";
  static final String NAMESPACE = "namespace";

  // those that follow are not of pg_tde, which refuses a provider that has one

  static final String ROLE_ID_PATH = "roleIdPath";
  static final String SECRET_ID_PATH = "secretIdPath";
  static final String APPROLE_PATH = "approlePath";
  static final String PLAIN_HTTP_HOST = "plainHttpHost";

  private static final Pattern LOOPBACK = Pattern.compile("localhost|127(\\.\\d{1,3}){3}|\\[::1]");
  private static final Pattern HEADER_TEXT = Pattern.compile("[!-~]+");

  static VaultSettings of(Map<String, String> options, Context context) throws ProviderException {
    List<String> plainHosts =
        Settings.list(options.getOrDefault(PLAIN_HTTP_HOST, "").toLowerCase(ROOT));
    List<URI> addresses = new ArrayList<>();
    for (String text : Settings.list(options.getOrDefault(URL, ""))) {
      addresses.add(address(text, plainHosts));
    }
    if (addresses.isEmpty()) {
      throw refused(URL, "it holds no address");
    }
    String namespace = options.getOrDefault(NAMESPACE, "");
    if (!namespace.isEmpty() && !HEADER_TEXT.matcher(namespace).matches()) {
      throw refused(NAMESPACE, "it holds other characters than printable ASCII");
    }
    String authorities = options.getOrDefault(CA_PATH, "");
    return new VaultSettings(
        List.copyOf(addresses),
        path(MOUNT_PATH, options.getOrDefault(MOUNT_PATH, "")),
        namespace.isEmpty() ? null : namespace,
        credentials(options, context),
        authorities.isEmpty()
            ? null
            : Settings.file("certificate file", authorities, PrivateFile.TRUSTED, context),
        plainHosts);
  }

  /** Whether an option of the AppRole login is given. */
  static boolean logsIn(Map<String, String> options) {
    return Stream.of(ROLE_ID_PATH, SECRET_ID_PATH, APPROLE_PATH)
        .anyMatch(name -> !options.getOrDefault(name, "").isEmpty());
  }

  private static Credentials credentials(Map<String, String> options, Context context)
      throws ProviderException {
    String token = options.getOrDefault(TOKEN_PATH, "");
    if (!logsIn(options)) {
      return new TokenFile(Settings.file("token file", token, PrivateFile.SECRET, context));
    }
    if (!token.isEmpty()) {
      throw refused(
          TOKEN_PATH,
          "give it, or %s and %s for a login, not both".formatted(ROLE_ID_PATH, SECRET_ID_PATH));
    }
    String mount = options.getOrDefault(APPROLE_PATH, "");
    return new AppRole(
        Settings.file(
            "role id file", options.getOrDefault(ROLE_ID_PATH, ""), PrivateFile.TRUSTED, context),
        Settings.file(
            "secret id file",
            options.getOrDefault(SECRET_ID_PATH, ""),
            PrivateFile.SECRET,
            context),
        path(APPROLE_PATH, mount.isEmpty() ? "approle" : mount));
  }

  private static String path(String option, String path) throws ProviderException {
    return VaultPath.escape(option, path.replaceAll("^/+|/+$", ""));
  }

  /**
   * An address to which a token may be sent.
   *
   * @param plainHosts see {@link #plainHosts()}
   */
  static URI address(String text, List<String> plainHosts) throws ProviderException {
    URI uri;
    try {
      uri = new URI(text.replaceAll("/+$", ""));
    } catch (URISyntaxException e) {
      // without the cause, which quotes the text: it may hold a password
      throw refused(URL, "it is not of the form https://HOST:PORT");
    }
    String scheme = uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(ROOT);
    String host = uri.getHost();
    if (host == null
        || uri.getRawUserInfo() != null
        || uri.getRawQuery() != null
        || uri.getRawFragment() != null
        || !(scheme.equals("https") || scheme.equals("http"))) {
      throw refused(URL, "an address is not of the form https://HOST:PORT");
    }
    String name = host.toLowerCase(ROOT);
    if (scheme.equals("http") && !LOOPBACK.matcher(name).matches() && !plainHosts.contains(name)) {
      throw refused(
          URL,
          "%s would show the token and the keys to the network; use https, or allow it with %s=%s"
              .formatted(uri, PLAIN_HTTP_HOST, name));
    }
    return uri;
  }

  private static ProviderException refused(String option, String reason) {
    return new ProviderException(
        Code.REFUSED,
        "option %s of the vault-v2 provider is refused: %s".formatted(option, reason));
  }
}
