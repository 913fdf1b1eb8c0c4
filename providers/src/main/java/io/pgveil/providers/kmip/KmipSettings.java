package io.pgveil.providers.kmip;

import io.pgveil.keys.KeyProviderFactory.Context;
import io.pgveil.keys.PrivateFile;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.ClientCertificate;
import io.pgveil.providers.Settings;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The options of a provider, checked.
 *
 * @param servers in the order in which they are tried
 * @param client what we show to them
 * @param authorities who may sign the server's certificate, as PEM
 */
record KmipSettings(List<Server> servers, ClientCertificate client, PrivateFile authorities) {
  static final String HOST = "host";
  static final String PORT = "port";
  static final String CERT_PATH = "certPath";
  static final String KEY_PATH = "keyPath";
  static final String CA_PATH = "caPath";

  /** A name or an address of IPv4, or one of IPv6; with a port or without. */
  private static final Pattern SERVER =
      Pattern.compile("([^\\s:/@\\[\\]]+|\\[[0-9A-Fa-f:.]+])(?::(\\d{1,5}))?");

  private static final Pattern BARE_IPV6 = Pattern.compile("[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}");

  /** Where a server listens. */
  record Server(String host, int port) {
    @Override
    public String toString() {
      return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
    }
  }

  static KmipSettings of(Map<String, String> options, Context context) throws ProviderException {
    int port = port(options.getOrDefault(PORT, ""), PORT);
    List<Server> servers = new ArrayList<>();
    for (String text : Settings.list(options.getOrDefault(HOST, ""))) {
      servers.add(server(text, port));
    }
    if (servers.isEmpty()) {
      throw refused(HOST, "it holds no host");
    }
    return new KmipSettings(
        List.copyOf(servers),
        new ClientCertificate(
            Settings.file(
                "client certificate file",
                options.getOrDefault(CERT_PATH, ""),
                PrivateFile.TRUSTED,
                context),
            Settings.file(
                "private key file",
                options.getOrDefault(KEY_PATH, ""),
                PrivateFile.SECRET,
                context)),
        Settings.file(
            "certificate file", options.getOrDefault(CA_PATH, ""), PrivateFile.TRUSTED, context));
  }

  private static Server server(String text, int port) throws ProviderException {
    if (BARE_IPV6.matcher(text).matches()) {
      return new Server(text, port);
    }
    Matcher m = SERVER.matcher(text);
    if (!m.matches()) {
      throw refused(HOST, "\"" + text + "\" is not of the form HOST or HOST:PORT");
    }
    String host = m.group(1);
    return new Server(
        host.startsWith("[") ? host.substring(1, host.length() - 1) : host,
        m.group(2) == null ? port : port(m.group(2), HOST));
  }

  private static int port(String text, String option) throws ProviderException {
    if (text.matches("\\d{1,5}")) {
      int port = Integer.parseInt(text);
      if (port > 0 && port < 65536) {
        return port;
      }
    }
    throw refused(option, "\"" + text + "\" is no port from 1 to 65535");
  }

  private static ProviderException refused(String option, String reason) {
    return new ProviderException(
        Code.REFUSED, "option %s of the kmip provider is refused: %s".formatted(option, reason));
  }
}
