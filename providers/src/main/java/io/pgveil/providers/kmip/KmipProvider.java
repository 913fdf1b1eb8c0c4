package io.pgveil.providers.kmip;

import static io.pgveil.providers.kmip.Answer.plain;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProvider;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.Failover;
import io.pgveil.providers.ServerFailure;
import io.pgveil.providers.kmip.Answer.Failure;
import io.pgveil.providers.kmip.KmipSettings.Server;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Principal keys as symmetric keys of a KMIP server, found by their attribute Name (pg_tde format
 * 6.2).
 *
 * <p>KMIP servers let a name be given twice, and have no "create unless it is there". So a key is
 * looked for before it is registered and afterwards; of two nodes that register one name at the
 * same time each sees the other's key then, takes its own back and fails.
 */
final class KmipProvider implements KeyProvider.Storing {
  private static final Logger LOG = LoggerFactory.getLogger(KmipProvider.class);

  /** To pg_tde, which cuts off what is behind, in bytes. */
  private static final int LONGEST_NAME = 250;

  private final KmipSettings settings;
  private final Failover<Server> servers;

  KmipProvider(KmipSettings settings, Duration budget) {
    this.settings = settings;
    this.servers = new Failover<>(settings.servers(), budget);
  }

  private interface Conversation<T> {
    T with(KmipConnection server) throws ServerFailure, ProviderException, MalformedException;
  }

  /** Over one connection, again from its beginning if that fails. */
  private <T> T talk(Operation last, Conversation<T> conversation) throws ProviderException {
    return servers.call(
        (address, end) -> {
          try (KmipConnection server = KmipConnection.open(address, settings, end)) {
            try {
              return conversation.with(server);
            } catch (MalformedException e) {
              throw server.notUnderstood(last, e);
            }
          }
        });
  }

  @Override
  public Optional<KeyMaterial> fetch(KeyName name) throws ProviderException {
    byte[] stored = Arrays.copyOf(name.bytes(), Math.min(name.bytes().length, LONGEST_NAME));
    return fetch(name, stored, false);
  }

  @Override
  public Optional<KeyMaterial> fetchForNewUse(KeyName name) throws ProviderException {
    return fetch(name, requireWhole(name), true);
  }

  /** Two long names could be one to pg_tde. */
  private static byte[] requireWhole(KeyName name) throws ProviderException {
    byte[] bytes = name.bytes();
    if (bytes.length > LONGEST_NAME) {
      throw new ProviderException(
          Code.REFUSED,
          "key name \"%s\" is refused: it has %d bytes, and pg_tde cuts names in a KMIP server after %d"
              .formatted(name, bytes.length, LONGEST_NAME));
    }
    return bytes;
  }

  private Optional<KeyMaterial> fetch(KeyName name, byte[] stored, boolean newUse)
      throws ProviderException {
    return talk(
        Operation.GET,
        server -> {
          List<String> ids = locate(server, stored);
          if (ids.size() > 1) {
            ids = withoutDestroyed(server, ids);
          }
          if (ids.size() > 1 && !areOneKey(server, ids)) {
            throw ambiguous(server, name, ids);
          }
          if (ids.isEmpty()) {
            return Optional.empty();
          }
          String id = ids.getFirst();
          State state = state(server, id);
          if (state.isDestroyed()) {
            LOG.warn("{} \"{}\": the key was destroyed there", server.where(Operation.GET), name);
            return Optional.empty();
          }
          requireUsable(server, name, state, newUse);
          try (Answer answer = server.ask(Request.get(id))) {
            require(server, Operation.GET, answer);
            return switch (answer.key()) {
              case Answer.Key.Bytes k -> Optional.of(new KeyMaterial(name, k.bytes()));
              case Answer.Key.Foreign k ->
                  throw new ProviderException(
                      Code.INVALID_KEY,
                      "%s \"%s\" (unique identifier %s): %s"
                          .formatted(server.where(Operation.GET), name, plain(id), k.reason()));
            };
          }
        });
  }

  private static void requireUsable(
      KmipConnection server, KeyName name, State state, boolean newUse) throws ProviderException {
    if (!state.isRetired()) {
      return;
    }
    String key =
        "%s \"%s\": the key is %s there".formatted(server.where(Operation.GET), name, state);
    if (newUse) {
      throw new ProviderException(
          Code.RETIRED,
          key + ": what it protects stays readable, but it may not be set; take another");
    }
    LOG.warn("{}: rotate to another", key);
  }

  private static List<String> locate(KmipConnection server, byte[] name)
      throws ServerFailure, ProviderException, MalformedException {
    try (Answer answer = server.ask(Request.locate(server.version(), name))) {
      require(server, Operation.LOCATE, answer);
      return answer.ids();
    }
  }

  /** A server may refuse to tell it, for pg_tde does not ask. */
  private static State state(KmipConnection server, String id)
      throws ServerFailure, ProviderException, MalformedException {
    try (Answer answer = server.ask(Request.getState(server.version(), id))) {
      Failure failure = answer.failure();
      if (failure != null && failure.reason() != Failure.GENERAL_FAILURE) {
        LOG.warn(
            "{}: not known whether the key is deactivated: {}",
            server.where(Operation.GET_ATTRIBUTES),
            failure.text());
        return State.UNKNOWN;
      }
      require(server, Operation.GET_ATTRIBUTES, answer);
      return answer.state();
    }
  }

  private static List<String> withoutDestroyed(KmipConnection server, List<String> ids)
      throws ServerFailure, ProviderException, MalformedException {
    List<String> left = new ArrayList<>();
    for (String id : ids) {
      if (!state(server, id).isDestroyed()) {
        left.add(id);
      }
    }
    return left;
  }

  private static ProviderException ambiguous(
      KmipConnection server, KeyName name, List<String> ids) {
    return new ProviderException(
        Code.REFUSED,
        ("%s: several keys have the name \"%s\", with the unique identifiers %s: rename or destroy"
                + " all but the right one")
            .formatted(server.where(Operation.LOCATE), name, plain(String.join(", ", ids))));
  }

  /** Stops unless the operation has succeeded. */
  private static void require(KmipConnection server, Operation operation, Answer answer)
      throws ServerFailure, ProviderException {
    Failure failure = answer.failure();
    if (failure == null) {
      return;
    }
    // a server could quote the key that it was sent
    String text =
        server.where(operation)
            + ": "
            + (operation == Operation.REGISTER ? failure.name() : failure.text());
    if (failure.reason() == Failure.GENERAL_FAILURE) {
      throw new ServerFailure(text, true, null);
    }
    throw new ProviderException(Code.REFUSED, text + remedy(failure.reason()));
  }

  private static String remedy(int reason) {
    return switch (reason) {
      case Failure.AUTHENTICATION ->
          "; the server does not accept the client certificate: is it for client authentication?";
      case Failure.PERMISSION_DENIED ->
          "; the server does not allow this to the owner of the client certificate";
      default -> "";
    };
  }

  @Override
  public void store(KeyName name, byte[] key) throws ProviderException {
    byte[] bytes = requireWhole(name);
    talk(
        Operation.REGISTER,
        server -> {
          List<String> ids = locate(server, bytes);
          String registered = ids.isEmpty() ? register(server, bytes, key) : null;
          if (registered != null) {
            ids = locate(server, bytes);
          }
          // not empty before: the answer to a first attempt was lost, or the name is taken
          settle(server, name, key, ids, registered);
          return ids;
        });
  }

  /** Returns the unique identifier. */
  private static String register(KmipConnection server, byte[] name, byte[] key)
      throws ServerFailure, ProviderException, MalformedException {
    try (Answer answer = server.ask(Request.register(server.version(), name, key))) {
      require(server, Operation.REGISTER, answer);
      LOG.debug("registered a key, unique identifier {}", plain(answer.id()));
      return answer.id();
    }
  }

  /**
   * Fails if another key has the name, and then takes back what this call has registered, and only
   * that: an object that this call did not make may be in use, though it holds the same key (a key
   * that several nodes move).
   *
   * @param ids all objects of the name
   * @param registered by this call; null if it found some before
   */
  private static void settle(
      KmipConnection server,
      KeyName name,
      byte[] key,
      List<String> ids,
      @Nullable String registered)
      throws ServerFailure, ProviderException, MalformedException {
    if (ids.isEmpty()) {
      throw new ProviderException(
          Code.INVALID_RESPONSE,
          "%s: the key \"%s\" was registered, but is not found"
              .formatted(server.where(Operation.LOCATE), name));
    }
    List<String> others = new ArrayList<>();
    for (String id : ids) {
      if (!holds(server, id, key)) {
        others.add(id);
      }
    }
    if (others.isEmpty()) {
      return;
    }
    if (registered != null) {
      destroy(server, name, registered);
    }
    throw new ProviderException(
        Code.EXISTS,
        "%s: a key \"%s\" exists already, unique identifier %s"
            .formatted(server.where(Operation.LOCATE), name, plain(String.join(", ", others))));
  }

  /** Whether all objects hold the same key: nodes that moved it at once, or an answer was lost. */
  private static boolean areOneKey(KmipConnection server, List<String> ids)
      throws ServerFailure, ProviderException, MalformedException {
    try (Answer first = server.ask(Request.get(ids.getFirst()))) {
      if (first.failure() != null || !(first.key() instanceof Answer.Key.Bytes key)) {
        return false;
      }
      try {
        for (String id : ids.subList(1, ids.size())) {
          if (!holds(server, id, key.bytes())) {
            return false;
          }
        }
        return true;
      } finally {
        Arrays.fill(key.bytes(), (byte) 0);
      }
    }
  }

  private static boolean holds(KmipConnection server, String id, byte[] key)
      throws ServerFailure, ProviderException, MalformedException {
    try (Answer answer = server.ask(Request.get(id))) {
      if (answer.failure() != null || !(answer.key() instanceof Answer.Key.Bytes found)) {
        return false;
      }
      boolean same = MessageDigest.isEqual(found.bytes(), key);
      Arrays.fill(found.bytes(), (byte) 0);
      return same;
    }
  }

  private static void destroy(KmipConnection server, KeyName name, String id)
      throws ServerFailure, ProviderException {
    try (Answer answer = server.ask(Request.destroy(id))) {
      Failure failure = answer.failure();
      if (failure != null) {
        throw new ProviderException(
            Code.EXISTS,
            ("%s: two nodes have registered the key \"%s\" at the same time, and this one's, unique"
                    + " identifier %s, cannot be taken back (%s): destroy it")
                .formatted(server.where(Operation.DESTROY), name, plain(id), failure.text()));
      }
    }
  }

  /** Whether a server accepts us and offers what is needed; one that does not tell is believed. */
  void validate() throws ProviderException {
    talk(
        Operation.QUERY,
        server -> {
          try (Answer answer = server.ask(Request.queryOperations())) {
            Failure failure = answer.failure();
            if (failure != null && failure.reason() != Failure.NOT_SUPPORTED) {
              require(server, Operation.QUERY, answer);
            }
            for (Operation needed : List.of(Operation.LOCATE, Operation.GET, Operation.REGISTER)) {
              if (failure == null && !answer.offers(needed)) {
                throw new ProviderException(
                    Code.REFUSED,
                    "%s: the server does not offer %s"
                        .formatted(server.where(Operation.QUERY), needed));
              }
            }
            return server.version();
          }
        });
  }

  /** Nothing is open between two calls. */
  @Override
  public void close() {}

  @Override
  public String toString() {
    return "KmipProvider" + settings.servers();
  }
}
