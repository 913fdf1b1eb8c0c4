package io.pgveil.reader;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * {@code <dbOid>_providers} (spec 5): records of 1160 bytes, no header. Ids are negative in {@code
 * 1664_providers} (global), positive elsewhere; a deleted record keeps only its id.
 *
 * <pre>
 * 0       4  provider id, signed
 * 4     128  name, NUL-terminated, zero-filled
 * 132  1024  options: flat JSON object, NUL-terminated, zero-filled
 * 1156    4  type: 0 deleted, 1 file, 2 vault-v2, 3 kmip
 * </pre>
 */
public record ProviderFile(String file, List<Provider> providers) {
  private static final int RECORD = 1160;
  private static final int GLOBAL = 1664;

  /** Type of a provider, by its number on disk. */
  public enum Type {
    DELETED,
    FILE,
    VAULT_V2,
    KMIP
  }

  /**
   * One record.
   *
   * @param optionsText the JSON text as stored; empty when deleted
   * @param options the same, parsed; {@code null} values are left out
   */
  public record Provider(
      int id, String name, String optionsText, Map<String, String> options, Type type) {}

  public static ProviderFile read(Path path) throws IOException {
    return parse(Source.of(path));
  }

  /** The part of {@code file} behind the last slash must be {@code <dbOid>_providers}. */
  public static ProviderFile parse(String file, byte[] content) {
    return parse(new Source(file, content));
  }

  private static ProviderFile parse(Source in) {
    boolean global = KeyFileName.oid(in, "_providers") == GLOBAL;
    List<Provider> providers = new ArrayList<>();
    Set<Integer> ids = new HashSet<>();
    Set<String> names = new HashSet<>();
    for (int at = 0; at < in.size(); at += RECORD) {
      in.requireSize(at + RECORD, "provider records up to the end");
      int id = in.i32(at);
      in.require(
          global ? id < 0 : id > 0, at, (global ? "negative" : "positive") + " provider id", id);
      in.require(ids.add(id), at, "a provider id of its own", id);
      long type = in.u32(at + 1156);
      in.require(type < Type.values().length, at + 1156, "provider type 0 to 3", type);
      Provider provider = provider(in, at, id, Type.values()[(int) type]);
      if (provider.type != Type.DELETED) {
        in.require(names.add(provider.name), at + 4, "a name of its own", provider.name);
      }
      providers.add(provider);
    }
    return new ProviderFile(in.file(), List.copyOf(providers));
  }

  private static Provider provider(Source in, int at, int id, Type type) {
    if (type == Type.DELETED) {
      in.requireZero(at + 4, at + RECORD, "deleted provider");
      return new Provider(id, "", "", Map.of(), type);
    }
    String name = in.zeroFilledText(at + 4, 128, "provider name");
    int length = name.getBytes(StandardCharsets.UTF_8).length;
    in.require(length >= 1 && length <= 126, at + 4, "a name of 1 to 126 bytes", length);
    String text = in.zeroFilledText(at + 132, 1024, "options");
    Map<String, String> options = new FlatJson(in, at + 132, text).object();
    for (String required : required(type)) {
      in.require(
          !options.getOrDefault(required, "").isEmpty(),
          at + 132,
          "option \"" + required + "\" of a " + type + " provider",
          "none");
    }
    in.require(
        known(type).containsAll(options.keySet()),
        at + 132,
        "options of " + known(type),
        options.keySet());
    return new Provider(id, name, text, options, type);
  }

  private static List<String> required(Type type) {
    return switch (type) {
      case DELETED -> List.of();
      case FILE -> List.of("path");
      case VAULT_V2 -> List.of("tokenPath", "url", "mountPath");
      case KMIP -> known(type);
    };
  }

  private static List<String> known(Type type) {
    return switch (type) {
      case DELETED -> List.of();
      case FILE -> List.of("path");
      case VAULT_V2 -> List.of("url", "mountPath", "tokenPath", "caPath", "namespace");
      case KMIP -> List.of("host", "port", "certPath", "keyPath", "caPath");
    };
  }

  /** The provider of that id that is not deleted. */
  public Optional<Provider> find(int id) {
    return providers.stream().filter(p -> p.id == id && p.type != Type.DELETED).findFirst();
  }
}
