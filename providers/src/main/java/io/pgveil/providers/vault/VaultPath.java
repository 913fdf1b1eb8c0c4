package io.pgveil.providers.vault;

import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Names as parts of a URL path (RFC 3986, section 3.3). */
final class VaultPath {
  private static final String UNRESERVED =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";

  private VaultPath() {}

  static String escape(String what, String name) throws ProviderException {
    return escape(what, name.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Every byte that has a meaning in a URL as %XX; a slash stays, for a name is a path to the
   * server.
   *
   * @throws ProviderException for a name that a server or proxy would take for another one
   */
  static String escape(String what, byte[] name) throws ProviderException {
    StringBuilder out = new StringBuilder();
    for (byte b : name) {
      if (b > 0 && UNRESERVED.indexOf(b) >= 0) {
        out.append((char) b);
      } else {
        out.append("%%%02X".formatted(b & 0xff));
      }
    }
    for (String part : out.toString().split("/", -1)) {
      if (List.of("", ".", "..").contains(part)) {
        throw new ProviderException(
            Code.REFUSED,
            "%s \"%s\" is refused: to Vault it is a path, and none of its parts may be empty or dots"
                .formatted(what, new String(name, StandardCharsets.UTF_8)));
      }
    }
    return out.toString();
  }
}
