package io.pgveil.providers.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pgveil.providers.kmip.Ttlv.Structure;
import io.pgveil.providers.kmip.Ttlv.Value;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

/** The codec of KMIP messages. */
class TtlvTest {
  private static byte[] hex(String text) {
    return HexFormat.of().parseHex(text.replace(" ", ""));
  }

  @Provide
  static Arbitrary<Ttlv> items() {
    return itemsUpTo(4);
  }

  private static Arbitrary<Integer> tags() {
    return Arbitraries.of(0x42, 0x54)
        .flatMap(high -> Arbitraries.integers().between(0, 0xffff).map(low -> high << 16 | low));
  }

  private static Arbitrary<Ttlv> itemsUpTo(int depth) {
    Arbitrary<Ttlv> values =
        Combinators.combine(
                tags(),
                Arbitraries.of(Ttlv.Type.class).filter(t -> t != Ttlv.Type.STRUCTURE),
                Arbitraries.bytes().array(byte[].class).ofMaxSize(80))
            .as(TtlvTest::value);
    if (depth == 1) {
      return values;
    }
    Arbitrary<Ttlv> structures =
        Combinators.combine(tags(), itemsUpTo(depth - 1).list().ofMaxSize(4)).as(Structure::new);
    return Arbitraries.oneOf(values, structures);
  }

  private static Ttlv value(int tag, Ttlv.Type type, byte[] bytes) {
    return new Value(
        tag,
        type,
        ByteBuffer.wrap(
            switch (type) {
              case INTEGER, ENUMERATION, INTERVAL -> Arrays.copyOf(bytes, 4);
              case LONG_INTEGER, DATE_TIME, DATE_TIME_EXTENDED -> Arrays.copyOf(bytes, 8);
              case BIG_INTEGER -> Arrays.copyOf(bytes, 8 + (bytes.length & ~7));
              case BOOLEAN -> new byte[] {0, 0, 0, 0, 0, 0, 0, (byte) (bytes.length & 1)};
              default -> bytes;
            }));
  }

  @Property
  void decodeIsTheInverseOfEncode(@ForAll("items") Ttlv item) throws Exception {
    assertThat(Ttlv.decode(Ttlv.encode(item))).isEqualTo(item);
  }

  /** A cut message is refused; one with a changed byte too, or it is another message. */
  @Property
  void whatIsDecodedIsWhatWasSent(
      @ForAll("items") Ttlv item, @ForAll @IntRange(max = 4000) int at, @ForAll byte change)
      throws Exception {
    byte[] message = Ttlv.encode(item);
    int i = at % message.length;
    assertThatThrownBy(() -> Ttlv.decode(Arrays.copyOf(message, i)))
        .isInstanceOf(MalformedException.class);
    byte[] changed = message.clone();
    changed[i] ^= change;
    try {
      Ttlv decoded = Ttlv.decode(changed);
      assertThat(Ttlv.encode(decoded)).isEqualTo(changed);
      assertThat(decoded.equals(item)).isEqualTo(change == 0);
    } catch (MalformedException e) {
      assertThat(change).isNotZero();
    }
  }

  /** KMIP 1.4, section 9.1.2. */
  @Example
  void theExamplesOfTheStandard() {
    assertThat(Ttlv.encode(Value.integer(0x420020, 8)))
        .isEqualTo(hex("420020 02 00000004 00000008 00000000"));
    assertThat(Ttlv.encode(Value.enumeration(0x420020, 255)))
        .isEqualTo(hex("420020 05 00000004 000000FF 00000000"));
    assertThat(Ttlv.encode(Value.text(0x420020, "Hello World")))
        .isEqualTo(hex("420020 07 0000000B 48656C6C6F20576F726C640000000000"));
    assertThat(Ttlv.encode(Value.bytes(0x420020, new byte[] {1, 2, 3})))
        .isEqualTo(hex("420020 08 00000003 0102030000000000"));
    assertThat(Ttlv.encode(Value.dateTime(0x420020, 0x47DA67F8)))
        .isEqualTo(hex("420020 09 00000008 0000000047DA67F8"));
    assertThat(
            Ttlv.encode(
                Structure.of(
                    0x420020, Value.enumeration(0x420004, 254), Value.integer(0x420005, 255))))
        .isEqualTo(
            hex(
                "420020 01 00000020 420004 05 00000004 000000FE 00000000"
                    + "420005 02 00000004 000000FF 00000000"));
  }

  @Example
  void whatNoEncoderMakesIsRefused() {
    for (String bad :
        new String[] {
          "",
          "42002002 00000004", // cut off
          "42002002 00000008 0000000000000008", // length of an integer
          "42002002 00000004 0000000800000001", // padding
          "42002006 00000008 0000000000000002", // neither true nor false
          "42002004 00000004 0000000100000000", // length of a big integer
          "42002004 00000000",
          "42002000 00000000", // types
          "4200200C 00000000",
          "43002008 00000000", // tag
          "42002008 00000000 00", // something behind
          "42002008 FFFFFFFF", // lengths
          "42002008 7FFFFFFF 0000000000000000",
          "42002001 00000004 4200200800000000",
          "42002001 00000008 4200200800000008 0000000000000000",
        }) {
      assertThatThrownBy(() -> Ttlv.decode(hex(bad)))
          .as(bad)
          .isInstanceOf(MalformedException.class);
    }
  }

  @Example
  void depthIsLimited() throws Exception {
    Ttlv item = Value.integer(0x420020, 8);
    for (int i = 1; i < Ttlv.MAX_DEPTH; i++) {
      item = Structure.of(0x420020, item);
    }
    assertThat(Ttlv.decode(Ttlv.encode(item))).isEqualTo(item);
    byte[] deeper = Ttlv.encode(Structure.of(0x420020, item));
    assertThatThrownBy(() -> Ttlv.decode(deeper)).hasMessageContaining("too deep");
  }
}
