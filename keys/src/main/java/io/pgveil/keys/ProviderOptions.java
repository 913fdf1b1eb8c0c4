package io.pgveil.keys;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.pgveil.keys.KeyException.Kind;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Parses the JSON options of a provider (pg_tde format 5.1; messages: behaviour 3.1). */
final class ProviderOptions {
  private static final JsonFactory JSON = new JsonFactory();

  private ProviderOptions() {}

  /** Known options with text or number values; those that are null are left out. */
  static Map<String, String> parse(String json, KeyProviderFactory factory) throws KeyException {
    Map<String, String> options = read(json, factory);
    List<String> missing =
        factory.requiredOptions(options).stream()
            .filter(name -> options.getOrDefault(name, "").isEmpty())
            .toList();
    if (!missing.isEmpty()) {
      throw new KeyException(Kind.INVALID_ARGUMENT, factory.missingOptions(missing));
    }
    return options;
  }

  private static Map<String, String> read(String json, KeyProviderFactory factory)
      throws KeyException {
    Map<String, String> options = new LinkedHashMap<>();
    try (JsonParser parser = JSON.createParser(json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new KeyException(Kind.INVALID_ARGUMENT, "key provider options must be an object");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        if (!factory.optionNames().contains(name)) {
          throw new KeyException(
              Kind.INVALID_ARGUMENT,
              "unexpected field \"%s\" for %s provider"
                  .formatted(name, factory.typeNameForUnknownOption()),
              "the options are " + String.join(", ", factory.optionNames()));
        }
        switch (parser.nextToken()) {
          case VALUE_STRING, VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT ->
              options.put(name, parser.getText());
          case VALUE_NULL -> options.remove(name);
          case START_OBJECT ->
              throw new KeyException(Kind.REFUSED, "key provider value cannot be an object");
          case START_ARRAY ->
              throw new KeyException(
                  Kind.INVALID_ARGUMENT, "unexpected array in field \"" + name + "\"");
          default ->
              throw new KeyException(
                  Kind.INVALID_ARGUMENT, "unexpected boolean in field \"" + name + "\"");
        }
      }
      if (parser.nextToken() != null) {
        throw new KeyException(Kind.INVALID_ARGUMENT, "key provider options must be an object");
      }
      return options;
    } catch (IOException e) {
      // the parser's own message quotes the text
      throw new KeyException(
          Kind.INVALID_ARGUMENT,
          "key provider options are not valid JSON",
          "give an object of names and texts");
    }
  }
}
