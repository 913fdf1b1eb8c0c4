package io.pgveil.providers.kmip;

import io.pgveil.fuzz.Bits;
import io.pgveil.fuzz.Violation;
import java.util.Arrays;
import java.util.List;

/** An answer of a KMIP server: the first byte chooses the operation, the message follows. */
public final class KmipAnswerFuzz {
  private KmipAnswerFuzz() {}

  private interface Reader {
    Object read() throws MalformedException;
  }

  public static void fuzzerTestOneInput(byte[] input) {
    Bits bits = new Bits(input);
    List<Operation> operations = List.of(Operation.values());
    Operation operation = operations.get(bits.u8() % operations.size());
    byte[] message = bits.rest();
    byte[] sent = message.clone();
    try {
      Ttlv item = Ttlv.decode(message);
      Violation.unless(Arrays.equals(Ttlv.encode(item), sent), "another message is encoded");
      Violation.unless(Ttlv.decode(sent).equals(item), "another item is decoded");
    } catch (MalformedException e) {
      shortAndPlain(String.valueOf(e.getMessage()));
    }
    Answer answer;
    try {
      answer = Answer.read(message, operation);
    } catch (MalformedException e) {
      shortAndPlain(String.valueOf(e.getMessage()));
      return;
    }
    Answer.Failure failure = answer.failure();
    if (failure != null) {
      shortAndPlain(failure.text());
    }
    read(answer::versions);
    read(answer::ids);
    read(answer::id);
    read(answer::state);
    read(() -> answer.offers(Operation.GET));
    read(
        () -> {
          if (answer.key() instanceof Answer.Key.Bytes key) {
            int n = key.bytes().length;
            Violation.unless(n == 16 || n == 32, "a key of another length");
          }
          return answer;
        });
    answer.close();
    Violation.unless(Arrays.equals(message, new byte[message.length]), "it is not cleared");
  }

  private static void read(Reader reader) {
    try {
      reader.read();
    } catch (MalformedException e) {
      shortAndPlain(String.valueOf(e.getMessage()));
    }
  }

  private static void shortAndPlain(String text) {
    Violation.unless(text.length() < 500, "a reason that is far too long");
    Violation.unless(text.chars().allMatch(c -> c >= ' '), "control characters in a message");
  }
}
