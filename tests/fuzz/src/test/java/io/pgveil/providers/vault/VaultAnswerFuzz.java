package io.pgveil.providers.vault;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.io.IOException;
import java.net.URI;
import java.util.Arrays;

/** The body of an answer of Vault. */
public final class VaultAnswerFuzz {
  private static final URI ADDRESS = URI.create("https://127.0.0.1:8200");

  private VaultAnswerFuzz() {}

  public static void fuzzerTestOneInput(byte[] input) {
    byte[] body = new Bits(input).rest();
    VaultAnswer answer = new VaultAnswer(ADDRESS, "GET /v1/x", 200, null, body);
    try {
      if (answer.key() instanceof VaultAnswer.Key.Bytes key) {
        Violation.unless(key.bytes().length <= 96, "a key that is far too long");
      }
      byte[] token = answer.token();
      if (token != null) {
        Violation.unless(token.length <= Token.MAX_SIZE, "a token that is far too long");
        for (byte b : token) {
          Violation.unless(b > ' ' && b < 127, "a token that is no header");
        }
      }
      answer.fields("/data/type", "/data/options/version", "/auth/lease_duration");
    } catch (IOException e) {
      Violation.unless(!answer.toString().isEmpty(), "no text");
    }
    String reason = answer.reason();
    Violation.unless(reason.length() < 500, "a reason that is far too long");
    Violation.unless(reason.chars().allMatch(c -> c >= ' '), "control characters in a message");
    answer.close();
    Violation.unless(Arrays.equals(body, new byte[body.length]), "the body is not cleared");
  }
}
