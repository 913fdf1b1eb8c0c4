package io.pgveil.providers.kmip;

import static io.pgveil.providers.kmip.Ttlv.Structure;
import static io.pgveil.providers.kmip.Ttlv.Value;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pgveil.keys.KeyMaterial;
import io.pgveil.keys.KeyName;
import io.pgveil.keys.KeyProviderFactory.Context;
import io.pgveil.keys.ProviderException;
import io.pgveil.keys.ProviderException.Code;
import io.pgveil.providers.TlsServer;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Answers that no well-meaning server gives. */
class KmipProviderTest {
  private static final byte[] KEY = "sixteen bytes...".getBytes(UTF_8);
  private static final byte[] OTHER = "other sixteen...".getBytes(UTF_8);
  private static final KeyName NAME = KeyName.of("a key, ö");

  /** The certificate of all scripted servers, and our own. */
  @TempDir static Path certificate;

  @TempDir Path temporary;
  private final List<AutoCloseable> opened = new ArrayList<>();

  @BeforeAll
  static void makeCertificate() throws Exception {
    TlsServer.store(certificate);
  }

  @AfterEach
  void close() throws Exception {
    for (AutoCloseable o : opened) {
      o.close();
    }
  }

  /** What a server says to a request; hangs up if that is empty. */
  private interface Script {
    byte[] answer(Structure request) throws Exception;
  }

  /** Answers the requests one after the other, over one connection or several. */
  private final class Server {
    private final LinkedBlockingQueue<Script> scripts;
    private final List<byte[]> requests = new CopyOnWriteArrayList<>();
    private final TlsServer tls;

    Server(Script... scripts) throws Exception {
      this.scripts = new LinkedBlockingQueue<>(List.of(scripts));
      tls = new TlsServer(certificate, this::serve);
      opened.add(tls);
    }

    private void serve(InputStream in, OutputStream out) throws Exception {
      while (true) {
        byte[] head = in.readNBytes(8);
        if (head.length < 8) {
          return;
        }
        byte[] request = Arrays.copyOf(head, 8 + ByteBuffer.wrap(head).getInt(4));
        in.readNBytes(request, 8, request.length - 8);
        requests.add(request);
        Structure message = (Structure) Ttlv.decode(request);
        Script script =
            operation(message) == Operation.DISCOVER_VERSIONS.number
                ? KmipProviderTest::versions
                : scripts.size() > 1 ? scripts.remove() : scripts.element();
        byte[] answer = script.answer(message);
        if (answer.length == 0) {
          return;
        }
        out.write(answer);
      }
    }

    /** The operations after Discover Versions. */
    List<Integer> operations() throws Exception {
      List<Integer> operations = new ArrayList<>();
      for (byte[] request : requests) {
        int o = operation((Structure) Ttlv.decode(request));
        if (o != Operation.DISCOVER_VERSIONS.number) {
          operations.add(o);
        }
      }
      return operations;
    }
  }

  private static int operation(Structure request) throws Exception {
    return request.structure(Tag.BATCH_ITEM).enumeration(Tag.OPERATION);
  }

  private static byte[] versions(Structure request) throws Exception {
    return answer(request, new Version(1, 4).item());
  }

  private static byte[] answer(Structure request, Ttlv... payload) throws Exception {
    return message(
        Value.enumeration(Tag.OPERATION, operation(request)),
        Value.enumeration(Tag.RESULT_STATUS, 0),
        Structure.of(Tag.RESPONSE_PAYLOAD, payload));
  }

  private static byte[] message(Ttlv... item) {
    return Ttlv.encode(
        Structure.of(
            Tag.RESPONSE_MESSAGE,
            Structure.of(
                Tag.RESPONSE_HEADER,
                new Version(1, 4).item(),
                Value.dateTime(Tag.TIME_STAMP, 0),
                Value.integer(Tag.BATCH_COUNT, 1)),
            Structure.of(Tag.BATCH_ITEM, item)));
  }

  private static Script says(Ttlv... payload) {
    return request -> answer(request, payload);
  }

  private static Script ids(String... ids) {
    return says(
        Arrays.stream(ids).map(id -> Value.text(Tag.UNIQUE_IDENTIFIER, id)).toArray(Ttlv[]::new));
  }

  private static Script fails(int reason, String text) {
    return request ->
        message(
            Value.enumeration(Tag.RESULT_STATUS, 1),
            Value.enumeration(Tag.RESULT_REASON, reason),
            Value.text(Tag.RESULT_MESSAGE, text));
  }

  private static Script hangsUp() {
    return request -> new byte[0];
  }

  private static Script raw(byte[] bytes) {
    return request -> bytes;
  }

  private static Script state(int state) {
    return says(
        Structure.of(
            Tag.ATTRIBUTE,
            Value.text(Tag.ATTRIBUTE_NAME, "State"),
            Value.enumeration(Tag.ATTRIBUTE_VALUE, state)));
  }

  private static Script key(byte[] key) {
    return key(2, 1, Value.bytes(Tag.KEY_MATERIAL, key));
  }

  private static Script key(int objectType, int format, Ttlv material, Ttlv... more) {
    List<Ttlv> block = new ArrayList<>();
    block.add(Value.enumeration(Tag.KEY_FORMAT_TYPE, format));
    block.add(Structure.of(Tag.KEY_VALUE, material));
    block.addAll(List.of(more));
    return says(
        Value.enumeration(Tag.OBJECT_TYPE, objectType),
        Structure.of(Tag.SYMMETRIC_KEY, new Structure(Tag.KEY_BLOCK, block)));
  }

  private KmipProvider provider(String host, int port, Duration budget) throws ProviderException {
    Map<String, String> options = new TreeMap<>();
    options.put("host", host);
    options.put("port", "" + port);
    options.put("certPath", certificate.resolve("ca.pem").toString());
    options.put("keyPath", certificate.resolve("ca.key").toString());
    options.put("caPath", certificate.resolve("ca.pem").toString());
    Context context = new Context(List.of(temporary.resolve("cipher"), temporary.resolve("mount")));
    return new KmipProvider(KmipSettings.of(options, context), budget);
  }

  /** With more time than any test takes. */
  private KmipProvider patient(Server server) throws ProviderException {
    return provider("127.0.0.1", server.tls.port(), Duration.ofMinutes(5));
  }

  private KmipProvider hasty(int port) throws ProviderException {
    return provider("127.0.0.1", port, Duration.ofSeconds(3));
  }

  private static byte[] fetch(KmipProvider provider) throws ProviderException {
    return provider.fetch(NAME).map(KeyMaterial::bytes).orElseThrow();
  }

  /** The failure, which shows no secret anywhere. */
  private static ProviderException failure(ThrowingCallable call) {
    ProviderException e =
        Objects.requireNonNull(
            catchThrowableOfType(ProviderException.class, call), "nothing was thrown");
    StringWriter all = new StringWriter();
    e.printStackTrace(new PrintWriter(all));
    assertThat(all.toString())
        .doesNotContain(new String(KEY, UTF_8), HexFormat.of().formatHex(KEY))
        .doesNotContainPattern("[\\x00-\\x08]");
    return e;
  }

  /** An item in hexadecimal digits. */
  private static String item(String tag, int type, String value) {
    int length = value.length() / 2;
    return tag + "%02X%08X".formatted(type, length) + value + "00".repeat(-length & 7);
  }

  private static String text(String tag, String text) {
    return item(tag, 7, HexFormat.of().withUpperCase().formatHex(text.getBytes(UTF_8)));
  }

  private static String attribute(String name, int type, String value) {
    return item("420008", 1, text("42000A", name) + item("42000B", type, value));
  }

  private static void assertRequest(
      Version version, Request request, String operation, String... payload) throws Exception {
    String header =
        item(
                "420069",
                1,
                item("42006A", 2, "%08X".formatted(version.major()))
                    + item("42006B", 2, "%08X".formatted(version.minor())))
            + item("420050", 2, "00002000")
            + item("420092", 9, "0000000012345678")
            + item("42000D", 2, "00000001");
    String batch = item("42005C", 5, operation) + item("420079", 1, String.join("", payload));
    assertThat(
            HexFormat.of()
                .withUpperCase()
                .formatHex(request.encode(version, Instant.ofEpochSecond(0x12345678))))
        .isEqualTo(item("420078", 1, item("420077", 1, header) + item("42000F", 1, batch)));
  }

  /** Format 6.2, written down here a second time. */
  @Test
  void theRequestsAreAsSpecified() throws Exception {
    Version v10 = Version.V1_0;
    Version v14 = new Version(1, 4);
    Version v20 = new Version(2, 0);
    String name = text("420055", NAME.toString()) + item("420054", 5, "00000001");
    String block =
        item("420042", 5, "00000001")
            + item("420041", 5, "00000001")
            + item(
                "420045", 1, text("420043", new String(KEY, UTF_8)).replace("42004307", "42004308"))
            + item("420028", 5, "00000003")
            + item("42002A", 2, "00000080");
    String key = item("42008F", 1, item("420040", 1, block));
    String symmetric = item("420057", 5, "00000002");
    assertRequest(
        v14,
        Request.register(v14, NAME.bytes(), KEY),
        "00000003",
        symmetric,
        item(
            "420091",
            1,
            attribute("Cryptographic Algorithm", 5, "00000003")
                + attribute("Cryptographic Length", 2, "00000080")
                + attribute("Cryptographic Usage Mask", 2, "0000000C")
                + attribute("Name", 1, name)),
        key);
    assertRequest(
        v10,
        Request.locate(v10, NAME.bytes()),
        "00000008",
        item("42004F", 2, "00000010"),
        attribute("Object Type", 5, "00000002"),
        attribute("Name", 1, name));
    assertRequest(v10, Request.get("7"), "0000000A", text("420094", "7"));
    assertRequest(
        v14, Request.getState(v14, "7"), "0000000B", text("420094", "7"), text("42000A", "State"));
    assertRequest(
        v20,
        Request.register(v20, NAME.bytes(), KEY),
        "00000003",
        symmetric,
        item(
            "420125",
            1,
            item("420028", 5, "00000003")
                + item("42002A", 2, "00000080")
                + item("42002C", 2, "0000000C")
                + item("420053", 1, name)),
        key);
  }

  @Test
  void oneConnectionServesACall() throws Exception {
    Server server = new Server(ids("7"), state(2), key(KEY));
    assertThat(fetch(patient(server))).isEqualTo(KEY);
    assertThat(server.operations()).containsExactly(8, 0x0B, 0x0A);
    assertThat(server.requests).hasSize(4);
  }

  @Test
  void passingFailuresAreRepeated() throws Exception {
    Server server =
        new Server(
            hangsUp(),
            fails(0x100, "database is locked"),
            ids("7"),
            state(1),
            hangsUp(),
            ids("7"),
            state(1),
            key(KEY));
    assertThat(fetch(patient(server))).isEqualTo(KEY);
    assertThat(server.operations()).containsExactly(8, 8, 8, 0x0B, 0x0A, 8, 0x0B, 0x0A);
  }

  @Test
  void theTimeForRepetitionsEnds() throws Exception {
    Server server = new Server(fails(0x100, "database is\nlocked"));
    ProviderException e = failure(() -> fetch(hasty(server.tls.port())));
    assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
    assertThat(e)
        .hasMessageContaining("Locate: general failure: database is locked")
        .hasMessageContaining("KMIP server 127.0.0.1:" + server.tls.port());
  }

  /** Seen failing: without closing the socket at the time; INVALID_RESPONSE after 51 s. */
  @Test
  void anAnswerThatNeverEndsIsGivenUp() throws Exception {
    TlsServer[] dripping = new TlsServer[1];
    dripping[0] =
        new TlsServer(
            certificate,
            (in, out) -> {
              in.read();
              out.write(HexFormat.of().parseHex("42007B0100002000"));
              dripping[0].drip(out);
            });
    opened.add(dripping[0]);
    ProviderException e = failure(() -> fetch(hasty(dripping[0].port())));
    assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
    assertThat(e).hasMessageContaining("Discover Versions: no answer in time");
  }

  @Test
  void aServerThatDoesNotSpeakTlsIsGivenUp() throws Exception {
    try (ServerSocket silent = new ServerSocket(0, 10, InetAddress.getLoopbackAddress())) {
      ProviderException e = failure(() -> fetch(hasty(silent.getLocalPort())));
      assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
      assertThat(e).hasMessageContaining("TLS: no answer in time");
    }
  }

  @Test
  void anUnknownHostIsTold() throws Exception {
    ProviderException e =
        failure(() -> fetch(provider("no-such-host.invalid", 5696, Duration.ofSeconds(3))));
    assertThat(e.code()).isEqualTo(Code.UNAVAILABLE);
    assertThat(e).hasMessageContaining("KMIP server no-such-host.invalid:5696: unknown host");
  }

  @Test
  void whatIsNoAnswerOfKmipIsToldAsSuch() throws Exception {
    byte[] good = message(Value.enumeration(Tag.RESULT_STATUS, 0));
    byte[] trailing = good.clone();
    trailing[7] = (byte) (trailing[7] - 8);
    for (byte[] bad :
        List.of(
            "HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(ISO_8859_1),
            HexFormat.of().parseHex("42007B0100002008"),
            HexFormat.of().parseHex("42007B017FFFFFF8"),
            HexFormat.of().parseHex("42007B01FFFFFFF8"),
            HexFormat.of().parseHex("42007B0100000000"),
            trailing,
            good, // success of no operation
            message(Value.enumeration(Tag.OPERATION, 3), Value.enumeration(Tag.RESULT_STATUS, 0)),
            message(Value.enumeration(Tag.OPERATION, 8), Value.enumeration(Tag.RESULT_STATUS, 2)),
            message(
                Value.enumeration(Tag.RESULT_STATUS, 0), Value.enumeration(Tag.RESULT_STATUS, 0)),
            Ttlv.encode(Structure.of(Tag.RESPONSE_MESSAGE, Value.integer(Tag.BATCH_COUNT, 1))))) {
      Server server = new Server(raw(bad));
      ProviderException e = failure(() -> fetch(patient(server)));
      assertThat(e.code()).as(HexFormat.of().formatHex(bad)).isEqualTo(Code.INVALID_RESPONSE);
      assertThat(e)
          .hasMessageContaining("127.0.0.1:" + server.tls.port())
          .hasMessageContaining("Locate: returned what cannot be understood: ");
    }
  }

  @Test
  void aKeyOfAnotherFormIsRefused() throws Exception {
    Value material = Value.bytes(Tag.KEY_MATERIAL, KEY);
    Map<String, Script> scripts =
        Map.of(
            "the object is no symmetric key", key(4, 1, material),
            "the key is not in the format Raw", key(2, 7, material),
            "the key is wrapped by another",
                key(2, 1, material, Structure.of(Tag.KEY_WRAPPING_DATA)),
            "invalid key size: 0 bytes", key(new byte[0]),
            "invalid key size: 33 bytes", key(new byte[33]));
    for (Map.Entry<String, Script> script : scripts.entrySet()) {
      Server server = new Server(ids("7"), state(1), script.getValue());
      ProviderException e = failure(() -> fetch(patient(server)));
      assertThat(e.code()).isEqualTo(Code.INVALID_KEY);
      assertThat(e).hasMessageContaining("\"a key, ö\" (unique identifier 7): " + script.getKey());
    }
    Server none = new Server(ids("7"), state(1), key(2, 1, Value.text(Tag.KEY_MATERIAL, "x")));
    assertThat(failure(() -> fetch(patient(none))).code()).isEqualTo(Code.INVALID_RESPONSE);
  }

  @Test
  void refusalsAreToldAsTheServerSaysThem() throws Exception {
    Server denied = new Server(ids("7"), fails(0x0C, "no"), fails(0x0C, "not\u0007 yours"));
    ProviderException e = failure(() -> fetch(patient(denied)));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(e)
        .hasMessageContaining("Get: permission denied: not yours; the server does not allow this");
    assertThat(denied.operations()).as("nothing is tried again").hasSize(3);

    // the state is a luxury
    Server silent = new Server(ids("7"), fails(0x0C, "no"), key(KEY));
    assertThat(patient(silent).fetchForNewUse(NAME)).isPresent();
    Server unknown = new Server(ids("7"), says(), key(KEY));
    assertThat(patient(unknown).fetchForNewUse(NAME)).isPresent();
  }

  @Test
  void severalKeysAreNamedInOneLine() throws Exception {
    Server server =
        new Server(ids("7\n", "8" + "x".repeat(999)), state(1), state(1), key(KEY), key(OTHER));
    ProviderException e = failure(() -> fetch(patient(server)));
    assertThat(e.code()).isEqualTo(Code.REFUSED);
    assertThat(String.valueOf(e.getMessage()))
        .contains("several keys have the name \"a key, ö\", with the unique identifiers 7 , 8xx")
        .doesNotContain("\n")
        .hasSizeLessThan(600);
  }

  @ParameterizedTest
  @ValueSource(ints = {5, 6})
  void aDestroyedKeyIsNone(int destroyed) throws Exception {
    Server one = new Server(ids("7"), state(destroyed));
    assertThat(patient(one).fetch(NAME)).isEmpty();
    Server two = new Server(ids("7", "8"), state(destroyed), state(1), state(1), key(KEY));
    assertThat(fetch(patient(two))).isEqualTo(KEY);
  }

  @Test
  void aServerThatQuotesTheKeyDoesNotBringItOut() throws Exception {
    Server server = new Server(ids(), fails(0x07, "bad " + new String(KEY, UTF_8)));
    ProviderException e = failure(() -> patient(server).store(NAME, KEY));
    assertThat(e).hasMessageContaining("Register: invalid field");
  }

  @Test
  void aLostAnswerToARegisterIsNoConflict() throws Exception {
    Server server = new Server(ids(), hangsUp(), ids("7"), key(KEY));
    patient(server).store(NAME, KEY);
    assertThat(server.operations()).containsExactly(8, 3, 8, 0x0A);

    // sent twice after all
    Server twice = new Server(ids(), hangsUp(), ids("7", "8"), key(KEY), key(KEY));
    patient(twice).store(NAME, KEY);
    assertThat(twice.operations()).containsExactly(8, 3, 8, 0x0A, 0x0A);
    Server one =
        new Server(ids("7", "8"), state(1), state(1), key(KEY), key(KEY), state(1), key(KEY));
    assertThat(fetch(patient(one))).as("both are the same key").isEqualTo(KEY);
  }

  /** Seen failing: destroying all that hold our key; operation 20 followed. */
  @Test
  void whatThisCallDidNotRegisterIsNeverDestroyed() throws Exception {
    Server server = new Server(ids("7", "8"), key(KEY), key(OTHER), ids("7"));
    ProviderException e = failure(() -> patient(server).store(NAME, KEY));
    assertThat(e.code()).isEqualTo(Code.EXISTS);
    assertThat(e).hasMessageContaining("unique identifier 8");
    assertThat(server.operations()).containsExactly(8, 0x0A, 0x0A);
  }

  /** Seen failing: settle without destroy; the operations were 8, 3, 8, 10, 10. */
  @Test
  void ofTwoThatRegisterAtOnceEachTakesItsOwnBack() throws Exception {
    Server server = new Server(ids(), ids("8"), ids("7", "8"), key(OTHER), key(KEY), ids("8"));
    ProviderException e = failure(() -> patient(server).store(NAME, KEY));
    assertThat(e.code()).isEqualTo(Code.EXISTS);
    assertThat(e).hasMessageContaining("a key \"a key, ö\" exists already, unique identifier 7");
    assertThat(server.operations()).containsExactly(8, 3, 8, 0x0A, 0x0A, 0x14);
    Structure destroy = (Structure) Ttlv.decode(server.requests.getLast());
    assertThat(
            destroy
                .structure(Tag.BATCH_ITEM)
                .structure(Tag.REQUEST_PAYLOAD)
                .text(Tag.UNIQUE_IDENTIFIER))
        .isEqualTo("8");

    Server stubborn =
        new Server(ids(), ids("8"), ids("7", "8"), key(OTHER), key(KEY), fails(0x0C, "no"));
    assertThat(failure(() -> patient(stubborn).store(NAME, KEY)))
        .hasMessageContaining("unique identifier 8, cannot be taken back (permission denied: no)");
    Server forgetful = new Server(ids(), ids("8"), ids());
    assertThat(failure(() -> patient(forgetful).store(NAME, KEY)))
        .hasMessageContaining("was registered, but is not found");
  }

  @Test
  void aServerThatCannotDoItIsToldAtOnce() throws Exception {
    Server half =
        new Server(
            says(Value.enumeration(Tag.OPERATION, 8), Value.enumeration(Tag.OPERATION, 0x0A)));
    assertThat(failure(() -> patient(half).validate()))
        .hasMessageContaining("the server does not offer Register");
    Server silent = new Server(fails(0x05, "no Query"));
    patient(silent).validate();
  }

  @Test
  void hostsAndPortsAreChecked() throws Exception {
    for (String host :
        List.of(",", "a b", "https://a", "a:0", "a:65536", "a:x", "[::1", "u@a", "a/b")) {
      ProviderException e = failure(() -> provider(host, 5696, Duration.ofSeconds(1)));
      assertThat(e.code()).as(host).isEqualTo(Code.REFUSED);
      assertThat(e).hasMessageContaining("option host of the kmip provider is refused: ");
    }
    assertThat(provider("kms-1.example, 10.0.0.1:5697,[::1]:1,::1", 5696, Duration.ofSeconds(1)))
        .hasToString("KmipProvider[kms-1.example:5696, 10.0.0.1:5697, [::1]:1, [::1]:5696]");
    for (int port : new int[] {0, -1, 65536}) {
      assertThat(failure(() -> provider("a", port, Duration.ofSeconds(1))))
          .hasMessageContaining("option port of the kmip provider is refused: ");
    }
  }
}
