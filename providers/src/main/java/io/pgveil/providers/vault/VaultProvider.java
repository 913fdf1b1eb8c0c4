package io.pgveil.providers.vault;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.Failover;
import io.pgveil.providers.vault.VaultClient.Call;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Principal keys as secrets of a key/value engine (pg_tde format 6.1): the secret {@code
 * MOUNT/data/NAME} has the field {@code key}, the Base64 form of the key.
 *
 * <p>A key is stored with check-and-set 0, so that the server refuses it if there is one of the
 * name: of two nodes that create the same key one fails. Its policy needs {@code create} and {@code
 * read} on {@code MOUNT/data/*}, and nothing else.
 */
final class VaultProvider implements KeyProvider.Storing {
  private static final Logger LOG = LoggerFactory.getLogger(VaultProvider.class);

  private static final int LONGEST_KEY = 32;

  private final VaultSettings settings;
  private final VaultClient client;
  private final TokenRenewal renewal;

  VaultProvider(VaultSettings settings) {
    this(settings, Failover.BUDGET);
  }

  VaultProvider(VaultSettings settings, Duration budget) {
    this.settings = settings;
    this.client = new VaultClient(settings, budget);
    this.renewal = new TokenRenewal(client);
  }

  @Override
  public Optional<KeyMaterial> fetch(KeyName name) throws ProviderException {
    try (VaultAnswer answer = client.call(Call.get(path(name)))) {
      if (answer.status() == 404) {
        return absent(answer);
      }
      if (answer.status() != 200) {
        throw refused(answer);
      }
      renewal.start();
      return Optional.of(new KeyMaterial(name, key(answer)));
    }
  }

  private static byte[] key(VaultAnswer answer) throws ProviderException {
    String from = answer.address() + " " + answer.request() + ": ";
    try {
      return switch (answer.key()) {
        case VaultAnswer.Key.None _ ->
            throw new ProviderException(
                Code.INVALID_RESPONSE, from + "returned no key: the secret has no text \"key\"");
        case VaultAnswer.Key.Malformed k ->
            throw new ProviderException(
                Code.INVALID_KEY,
                from
                    + "returned invalid key: %d characters that are not the Base64 form of 16 or 32 bytes"
                        .formatted(k.length()));
        case VaultAnswer.Key.Bytes k
            when k.bytes().length != 16 && k.bytes().length != LONGEST_KEY -> {
          Arrays.fill(k.bytes(), (byte) 0);
          throw new ProviderException(
              Code.INVALID_KEY,
              from
                  + "returned invalid key size: %d bytes, not 16 or 32"
                      .formatted(k.bytes().length));
        }
        case VaultAnswer.Key.Bytes k -> k.bytes();
      };
    } catch (IOException e) {
      // without the cause, which quotes the answer
      throw new ProviderException(Code.INVALID_RESPONSE, from + "returned incorrect JSON");
    }
  }

  /** No such secret, a deleted one, or no such engine: that is told by what else is said. */
  private static Optional<KeyMaterial> absent(VaultAnswer answer) throws ProviderException {
    if (!answer.errors().isEmpty()) {
      throw refused(answer);
    }
    try {
      String time = "/data/metadata/deletion_time";
      String deleted = answer.fields(time).getOrDefault(time, "");
      if (!deleted.isEmpty()) {
        LOG.warn(
            "{} {}: the key was deleted there at {}; as long as it is not destroyed it can be"
                + " undeleted",
            answer.address(),
            answer.request(),
            deleted);
      }
    } catch (IOException e) {
      throw new ProviderException(
          Code.INVALID_RESPONSE,
          answer.reason() + ": this is no answer of Vault; is the address right?");
    }
    return Optional.empty();
  }

  @Override
  public void store(KeyName name, byte[] key) throws ProviderException {
    byte[] text = Base64.getEncoder().encode(key);
    byte[] body = body(text);
    try (VaultAnswer answer = client.call(new Call("POST", path(name), body, text))) {
      if (answer.status() / 100 == 2) {
        renewal.start();
        return;
      }
      // a token that may create but not update is refused where check-and-set would be
      boolean exists = answer.status() == 400 && answer.errors().contains("check-and-set");
      Optional<KeyMaterial> found =
          exists || answer.status() == 403 ? fetch(name) : Optional.empty();
      if (found.isEmpty() && !exists) {
        throw refused(answer);
      }
      // when the answer to a first attempt was lost, the key that is there may be this one
      if (!isSame(found, key)) {
        throw new ProviderException(
            Code.EXISTS,
            "%s %s: a key of this name exists already, or was deleted and can be undeleted"
                .formatted(answer.address(), answer.request()));
      }
    } finally {
      Arrays.fill(body, (byte) 0);
      Arrays.fill(text, (byte) 0);
    }
  }

  private static boolean isSame(Optional<KeyMaterial> found, byte[] key) {
    if (found.isEmpty()) {
      return false;
    }
    try (KeyMaterial there = found.get()) {
      return MessageDigest.isEqual(there.bytes(), key);
    }
  }

  private static byte[] body(byte[] text) {
    byte[] head = "{\"options\":{\"cas\":0},\"data\":{\"key\":\"".getBytes(US_ASCII);
    byte[] tail = "\"}}".getBytes(US_ASCII);
    byte[] body = new byte[head.length + text.length + tail.length];
    ByteBuffer.wrap(body).put(head).put(text).put(tail);
    return body;
  }

  private String path(KeyName name) throws ProviderException {
    return settings.mount() + "/data/" + VaultPath.escape("key name", name.bytes());
  }

  /**
   * Refuses a mount that is no key/value engine of version 2. A token that may not look is no
   * failure: whether it may use the keys shows when it does.
   */
  void validate() throws ProviderException {
    String refusal = "";
    for (String path : new String[] {"sys/mounts/", "sys/internal/ui/mounts/"}) {
      try (VaultAnswer answer = client.call(Call.get(path + settings.mount()))) {
        if (answer.status() == 200) {
          requireVersion2(answer);
          return;
        }
        if (answer.status() != 403 || answer.errors().contains("invalid token")) {
          throw refused(answer);
        }
        refusal = answer.reason();
      }
    }
    LOG.warn("{}: not known whether this is a key/value engine of version 2", refusal);
  }

  private static void requireVersion2(VaultAnswer answer) throws ProviderException {
    String mount = "vault mount at \"" + answer.address() + " " + answer.request() + "\"";
    Map<String, String> fields;
    try {
      fields = answer.fields("/data/type", "/data/options/version");
    } catch (IOException e) {
      throw new ProviderException(
          Code.INVALID_RESPONSE, mount + " cannot be checked: incorrect JSON");
    }
    String type = fields.getOrDefault("/data/type", "");
    String version = fields.getOrDefault("/data/options/version", "");
    if (!type.equals("kv")) {
      throw new ProviderException(
          Code.REFUSED, mount + " has unsupported engine type \"" + type + "\"");
    }
    if (!version.equals("2")) {
      throw new ProviderException(
          Code.REFUSED,
          version.isEmpty()
              ? mount + " missing version field"
              : mount + " has unsupported Key/Value engine version \"" + version + "\"");
    }
  }

  private static ProviderException refused(VaultAnswer answer) {
    String remedy =
        switch (answer.status()) {
          case 401, 403 -> "; the token is not valid (any more), or its policy does not allow this";
          case 404 -> "; is there a key/value engine at this mountPath, in this namespace?";
          default -> "";
        };
    return new ProviderException(Code.REFUSED, answer.reason() + remedy);
  }

  @Override
  public void close() {
    renewal.close();
    client.tokens().close();
  }

  @Override
  public String toString() {
    return "VaultProvider" + settings.addresses();
  }
}
