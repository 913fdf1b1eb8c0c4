package io.pgveil.fuse;

import static io.pgveil.fuse.Exchange.args;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.pgveil.linux.Errno;
import io.pgveil.linux.Memory;
import io.pgveil.linux.Posix;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class RequestDispatcherTest {
  private static final int HEADER = 16;

  private final List<String> calls = new ArrayList<>();

  /** What every method of the file system returns. */
  private long result;

  private RuntimeException thrown;
  private boolean answersEarly;
  private Exchange exchange = new Exchange(recording());

  @AfterEach
  void close() {
    exchange.close();
  }

  /** Writes calls down as text; objects to be filled in are left out. */
  private FileSystem recording() {
    return (FileSystem)
        Proxy.newProxyInstance(
            FileSystem.class.getClassLoader(),
            new Class<?>[] {FileSystem.class},
            (proxy, method, arguments) -> {
              StringBuilder call = new StringBuilder(method.getName());
              for (Object argument : arguments) {
                switch (argument) {
                  case FileSystem.Caller c ->
                      call.append(" by ").append(c.uid()).append('/').append(c.gid());
                  case FileSystem.Entry e -> {
                    e.node = 77;
                    e.generation = 78;
                    e.entryValidMillis = 1_500;
                    fill(e.attributes);
                  }
                  case FileSystem.Attributes a -> fill(a);
                  case FileSystem.OpenResult o -> {
                    o.handle = 99;
                    o.directIo = true;
                    o.keepCache = true;
                    o.cacheDirectory = true;
                    o.parallelDirectWrites = true;
                  }
                  case FileSystem.Statfs s -> fill(s);
                  case FileSystem.SetAttributes s -> call.append(' ').append(text(s));
                  case FileSystem.DirectoryOutput d -> {}
                  case FileSystem.EarlyAnswer early -> {
                    if (answersEarly) {
                      early.give();
                      early.give();
                    }
                  }
                  default -> {
                    boolean isAddress = argument instanceof Long l && l > 1L << 40;
                    call.append(' ').append(isAddress ? "@" : argument);
                  }
                }
              }
              calls.add(call.toString());
              if (thrown != null) {
                throw thrown;
              }
              Class<?> type = method.getReturnType();
              return type == void.class ? null : type == int.class ? (Object) (int) result : result;
            });
  }

  private static String text(FileSystem.SetAttributes s) {
    return s.valid
        + ":"
        + s.mode
        + ","
        + s.uid
        + ","
        + s.gid
        + ","
        + s.size
        + ","
        + s.atime
        + "."
        + s.atimeNanos
        + ","
        + s.mtime
        + "."
        + s.mtimeNanos
        + ","
        + s.ctime
        + "."
        + s.ctimeNanos;
  }

  private static void fill(FileSystem.Attributes a) {
    a.ino = 1;
    a.size = 2;
    a.blocks = 3;
    a.atime = 4;
    a.mtime = 5;
    a.ctime = 6;
    a.atimeNanos = 7;
    a.mtimeNanos = 8;
    a.ctimeNanos = 9;
    a.mode = 10;
    a.nlink = 11;
    a.uid = 12;
    a.gid = 13;
    a.rdev = 14;
    a.blockSize = 15;
    a.validMillis = 2_250;
  }

  private static void fill(FileSystem.Statfs s) {
    s.blocks = 1;
    s.blocksFree = 2;
    s.blocksAvailable = 3;
    s.files = 4;
    s.filesFree = 5;
    s.blockSize = 6;
    s.nameMax = 7;
    s.fragmentSize = 8;
  }

  private static void assertAttributes(ByteBuffer b, int at) {
    for (int i = 0; i < 6; i++) {
      assertThat(b.getLong(at + 8 * i)).isEqualTo(i + 1);
    }
    for (int i = 0; i < 9; i++) {
      assertThat(b.getInt(at + 48 + 4 * i)).isEqualTo(i + 7);
    }
    assertThat(b.getInt(at + 84)).isZero();
  }

  private static void assertEntry(ByteBuffer b) {
    assertThat(b.getLong(HEADER)).isEqualTo(77);
    assertThat(b.getLong(HEADER + 8)).isEqualTo(78);
    assertThat(b.getLong(HEADER + 16)).isEqualTo(1);
    assertThat(b.getLong(HEADER + 24)).isEqualTo(2);
    assertThat(b.getInt(HEADER + 32)).isEqualTo(500_000_000);
    assertThat(b.getInt(HEADER + 36)).isEqualTo(250_000_000);
    assertAttributes(b, HEADER + 40);
  }

  private static void assertOpened(ByteBuffer b, int at) {
    assertThat(b.getLong(at)).isEqualTo(99);
    assertThat(b.getInt(at + 8)).isEqualTo(1 | 2 | 8 | 64);
    assertThat(b.getInt(at + 12)).isZero();
  }

  private static void assertError(ByteBuffer b, int error) {
    assertThat(b.capacity()).isEqualTo(HEADER);
    assertThat(b.getInt(0)).isEqualTo(HEADER);
    assertThat(b.getInt(4)).isEqualTo(-error);
    assertThat(b.getLong(8)).isEqualTo(Exchange.UNIQUE);
  }

  static Stream<Arguments> requests() {
    byte[] data = {1, 2, 3};
    Object[] size40 = {7L, 4096L, 100, 1, 8L, 0101000, 0};
    return Stream.of(
        arguments(1, args("name"), "lookup 5 name"),
        arguments(3, args(0, 0, 7L), "getattr 5 0"),
        arguments(3, args(1, 0, 7L), "getattr 5 7"),
        arguments(
            4,
            args(0xfff, 0, 7L, 11L, 0L, 12L, 13L, 14L, 15, 16, 17, 18, 0, 19, 20, 0),
            "setattr 5 7 1471:18,19,20,11,12.15,13.16,14.17"),
        arguments(
            4,
            args(1, 0, 7L, 11L, 0L, 12L, 13L, 14L, 15, 16, 17, 18, 0, 19, 20, 0),
            "setattr 5 0 1:18,19,20,11,12.15,13.16,14.17"),
        arguments(5, args(), "readlink 5 @ 4096"),
        arguments(6, args("name", "../target"), "symlink by 1001/1002 5 name ../target"),
        arguments(8, args(0140600, 8, 022, 0, "name"), "mknod by 1001/1002 5 name 49536 8"),
        arguments(9, args(0750, 022, "name"), "mkdir by 1001/1002 5 name 488"),
        arguments(10, args("name"), "unlink 5 name"),
        arguments(11, args("name"), "rmdir 5 name"),
        arguments(12, args(6L, "old", "new"), "rename 5 old 6 new 0"),
        arguments(45, args(6L, 2, 0, "old", "new"), "rename 5 old 6 new 2"),
        arguments(13, args(6L, "name"), "link 6 5 name"),
        arguments(14, args(02002, 0), "open by 1001/1002 5 1026"),
        arguments(35, args(0302, 0640, 022, 0, "name"), "create by 1001/1002 5 name 416 130"),
        arguments(15, args(size40), "read 5 7 4096 100 33280 @"),
        arguments(16, args(7L, 4096L, 3, 1, 8L, 0101000, 0, data), "write 5 7 4096 3 33280 true @"),
        arguments(16, args(7L, 4096L, 3, 0, 8L, 1, 0, data), "write 5 7 4096 3 1 false @"),
        arguments(17, args(), "statfs 5"),
        arguments(18, args(7L, 2, 1, 8L), "release 5 7 2"),
        arguments(20, args(7L, 0, 0), "fsync 5 7 false"),
        arguments(20, args(7L, 1, 0), "fsync 5 7 true"),
        arguments(25, args(7L, 0, 0, 8L), "flush 5 7"),
        arguments(27, args(0, 0), "opendir 5"),
        arguments(28, args(size40), "readdir 5 7 4096"),
        arguments(44, args(size40), "readdirplus 5 7 4096"),
        arguments(29, args(7L, 0, 0, 0L), "releasedir 5 7"),
        arguments(30, args(7L, 1, 0), "fsyncdir 5 7 true"),
        arguments(43, args(7L, 8L, 9L, 3, 0), "fallocate 5 7 3 8 9"),
        arguments(46, args(7L, 8L, 4, 0), "lseek 5 7 8 4"),
        arguments(47, args(7L, 8L, 6L, 9L, 10L, 11L, 0L), "copyFileRange 5 7 8 6 9 10 11"),
        arguments(50, args(0L), "syncfs 5"));
  }

  @ParameterizedTest
  @MethodSource("requests")
  void argumentsArrive(int opcode, byte[] arguments, String call) {
    ByteBuffer reply = exchange.ask(opcode, 5, arguments);
    assertThat(calls).containsExactly(call);
    assertThat(reply.getInt(0)).isEqualTo(reply.capacity());
    assertThat(reply.getInt(4)).isZero();
    assertThat(reply.getLong(8)).isEqualTo(Exchange.UNIQUE);
    assertThat(exchange.counts()[opcode]).isEqualTo(1);
  }

  @ParameterizedTest
  @MethodSource("requests")
  void errorsAreAnswered(int opcode, byte[] arguments, String call) {
    result = -Errno.ENOSPC;
    boolean hasNoResult = call.startsWith("release");
    if (!hasNoResult) {
      assertError(exchange.ask(opcode, 5, arguments), Errno.ENOSPC);
    }
    thrown = new IllegalStateException("on purpose");
    assertError(exchange.ask(opcode, 5, arguments), Errno.EIO);
    thrown = null;
    result = Integer.MIN_VALUE;
    if (!hasNoResult) {
      assertError(exchange.ask(opcode, 5, arguments), Errno.EIO);
    }
  }

  @ParameterizedTest
  @MethodSource("requests")
  void aRequestThatIsCutShortIsRefusedOrServedWhole(int opcode, byte[] arguments, String call) {
    for (int size = 0; size < arguments.length; size++) {
      calls.clear();
      byte[] cut = java.util.Arrays.copyOf(arguments, size);
      ByteBuffer reply = exchange.ask(opcode, 5, cut);
      // Trailing padding and fields of no interest may be missing, nothing else.
      if (reply.getInt(4) != 0) {
        assertError(reply, Errno.EINVAL);
        assertThat(calls).isEmpty();
      } else {
        assertThat(calls).containsExactly(call);
      }
    }
  }

  @Test
  void repliesHaveTheLayoutOfTheKernel() {
    assertEntry(exchange.ask(1, 5, args("name")));
    ByteBuffer attributes = exchange.ask(3, 5, args(0, 0, 7L));
    assertThat(attributes.capacity()).isEqualTo(HEADER + 104);
    assertThat(attributes.getLong(HEADER)).isEqualTo(2);
    assertThat(attributes.getInt(HEADER + 8)).isEqualTo(250_000_000);
    assertAttributes(attributes, HEADER + 16);
    ByteBuffer created = exchange.ask(35, 5, args(0, 0640, 022, 0, "name"));
    assertThat(created.capacity()).isEqualTo(HEADER + 128 + 16);
    assertEntry(created);
    assertOpened(created, HEADER + 128);
    assertOpened(exchange.ask(14, 5, args(0, 0)), HEADER);
    ByteBuffer statfs = exchange.ask(17, 5, args());
    assertThat(statfs.capacity()).isEqualTo(HEADER + 80);
    for (int i = 0; i < 5; i++) {
      assertThat(statfs.getLong(HEADER + 8 * i)).isEqualTo(i + 1);
    }
    for (int i = 0; i < 3; i++) {
      assertThat(statfs.getInt(HEADER + 40 + 4 * i)).isEqualTo(i + 6);
    }
    result = 3;
    ByteBuffer written = exchange.ask(16, 5, args(7L, 0L, 3, 0, 8L, 0, 0, new byte[3]));
    assertThat(written.capacity()).isEqualTo(HEADER + 8);
    assertThat(written.getInt(HEADER)).isEqualTo(3);
    assertThat(exchange.ask(15, 5, args(7L, 0L, 3, 0, 8L, 0, 0)).capacity()).isEqualTo(HEADER + 3);
    result = 1L << 40;
    assertThat(exchange.ask(46, 5, args(7L, 8L, 4, 0)).getLong(HEADER)).isEqualTo(1L << 40);
  }

  @Test
  void countsBeyondTheRequestAreFaults() {
    result = 4;
    assertError(exchange.ask(16, 5, args(7L, 0L, 3, 0, 8L, 0, 0, new byte[3])), Errno.EIO);
    assertError(exchange.ask(15, 5, args(7L, 0L, 3, 0, 8L, 0, 0)), Errno.EIO);
    assertError(exchange.ask(47, 5, args(7L, 8L, 6L, 9L, 10L, 3L, 0L)), Errno.EIO);
    result = 4097;
    assertError(exchange.ask(5, 5, args()), Errno.EIO);
  }

  @Test
  void writeThatIsAnsweredEarlyIsAnsweredOnce() {
    answersEarly = true;
    result = -Errno.EIO;
    assertWritten(exchange.ask(16, 5, args(7L, 0L, 3, 0, 8L, 0, 0, new byte[3])), 3);
    thrown = new IllegalStateException("on purpose");
    assertWritten(exchange.ask(16, 5, args(7L, 0L, 3, 0, 8L, 0, 0, new byte[3])), 3);
  }

  private static void assertWritten(ByteBuffer reply, int count) {
    assertThat(reply.getInt(4)).isZero();
    assertThat(reply.getInt(HEADER)).isEqualTo(count);
  }

  @Test
  void forgettingIsNotAnswered() {
    exchange.send(2, 5, args(3L));
    exchange.send(42, 0, args(2, 0, 5L, 1L, 6L, 2L));
    exchange.send(42, 0, args(-1, 0, 7L, 1L, 8L)); // count and end do not fit
    exchange.send(2, 5, args(-3L));
    exchange.send(2, 5, args(3));
    assertThat(calls).containsExactly("forget 5 3", "forget 5 1", "forget 6 2", "forget 7 1");
    thrown = new IllegalStateException("on purpose");
    exchange.send(2, 5, args(3L));
    assertThat(exchange.replies).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", ".", "..", "/", "a/b", "../b"})
  void namesThatAreNoneReachNoFileSystem(String name) {
    assertError(exchange.ask(1, 5, args(name)), Errno.EINVAL);
    assertError(exchange.ask(6, 5, args(name, "target")), Errno.EINVAL);
    assertError(exchange.ask(8, 5, args(0, 0, 0, 0, name)), Errno.EINVAL);
    assertError(exchange.ask(9, 5, args(0, 0, name)), Errno.EINVAL);
    assertError(exchange.ask(10, 5, args(name)), Errno.EINVAL);
    assertError(exchange.ask(11, 5, args(name)), Errno.EINVAL);
    assertError(exchange.ask(12, 5, args(6L, name, "b")), Errno.EINVAL);
    assertError(exchange.ask(12, 5, args(6L, "a", name)), Errno.EINVAL);
    assertError(exchange.ask(45, 5, args(6L, 0, 0, "a", name)), Errno.EINVAL);
    assertError(exchange.ask(13, 5, args(6L, name)), Errno.EINVAL);
    assertError(exchange.ask(35, 5, args(0, 0, 0, 0, name)), Errno.EINVAL);
    assertThat(calls).isEmpty();
  }

  @Test
  void namesKeepTheirBytes() {
    exchange.ask(1, 5, args("\u00ff\u0001 \u00e4"));
    assertThat(calls).containsExactly("lookup 5 \u00ff\u0001 \u00e4");
  }

  @Test
  void impossibleNumbersAreRefused() {
    assertError(exchange.ask(15, 5, args(7L, -1L, 3, 0, 8L, 0, 0)), Errno.EINVAL);
    assertError(exchange.ask(15, 5, args(7L, 0L, -1, 0, 8L, 0, 0)), Errno.EINVAL);
    assertError(
        exchange.ask(15, 5, args(7L, 0L, Exchange.CAPACITY + 1, 0, 8L, 0, 0)), Errno.EINVAL);
    assertError(exchange.ask(16, 5, args(7L, 0L, 4, 0, 8L, 0, 0, new byte[3])), Errno.EINVAL);
    assertError(
        exchange.ask(16, 5, args(7L, Long.MAX_VALUE, 3, 0, 8L, 0, 0, new byte[3])), Errno.EFBIG);
    assertError(exchange.ask(28, 5, args(7L, 0L, -1, 0, 8L, 0, 0)), Errno.EINVAL);
    assertError(exchange.ask(43, 5, args(7L, -1L, 9L, 3, 0)), Errno.EINVAL);
    assertError(exchange.ask(43, 5, args(7L, 1L, 0L, 3, 0)), Errno.EINVAL);
    assertError(exchange.ask(43, 5, args(7L, 1L, Long.MAX_VALUE, 3, 0)), Errno.EFBIG);
    assertError(exchange.ask(46, 5, args(7L, 8L, 0, 0)), Errno.EINVAL);
    assertError(exchange.ask(47, 5, args(7L, 8L, 6L, 9L, 10L, 11L, 1L)), Errno.EINVAL);
    assertError(
        exchange.ask(4, 5, args(8, 0, 7L, -1L, 0L, 12L, 13L, 14L, 15, 16, 17, 18, 0, 19, 20, 0)),
        Errno.EINVAL);
    for (int valid : new int[] {16, 32, 1024}) {
      assertError(
          exchange.ask(
              4,
              5,
              args(
                  valid, 0, 7L, 1L, 0L, 12L, 13L, 14L, 1 << 30, 1 << 30, 1 << 30, 18, 0, 19, 20,
                  0)),
          Errno.EINVAL);
    }
    assertThat(calls).isEmpty();
  }

  @Test
  void whatIsNotServedIsToldSo() {
    assertError(exchange.ask(39, 5, args(new byte[40])), 25);
    for (int opcode : new int[] {21, 22, 23, 24, 31, 32, 33, 34, 36, 37, 40, 48, 51, 52, 53, 99}) {
      assertError(exchange.ask(opcode, 5, args(new byte[100])), Errno.ENOSYS);
    }
    assertError(exchange.ask(26, 5, args(new byte[64])), Errno.ENOSYS);
    exchange.send(38, 5, args());
    assertThat(exchange.replies.getFirst().getInt(4)).isZero();
    assertThat(calls).isEmpty();
  }

  @Test
  void aWrongLengthInTheHeaderIsRefused() {
    byte[] request = new byte[60];
    request[0] = 61;
    request[4] = 17;
    exchange.sendRaw(request);
    assertThat(exchange.replies.getFirst().getInt(4)).isEqualTo(-Errno.EINVAL);
    exchange.sendRaw(new byte[39]);
    assertThat(exchange.replies).isEmpty();
    assertThat(calls).isEmpty();
  }

  @Test
  void whatAReplyHandedOutIsTakenBackIfNobodyGotIt() {
    exchange.sendResult = -Errno.ENOENT;
    exchange.ask(1, 5, args("name"));
    exchange.ask(35, 5, args(0, 0640, 022, 0, "name"));
    exchange.ask(14, 5, args(1, 0));
    exchange.ask(27, 5, args(1, 0));
    exchange.ask(3, 5, args(0, 0, 0L));
    assertThat(calls)
        .containsExactly(
            "lookup 5 name",
            "forget 77 1",
            "create by 1001/1002 5 name 416 0",
            "release 77 99 0",
            "forget 77 1",
            "open by 1001/1002 5 1",
            "release 5 99 1",
            "opendir 5",
            "releasedir 5 99",
            "getattr 5 0");
  }

  @Test
  void absentNamesAreEntriesWithoutNode() {
    exchange = new Exchange(new MemoryFileSystem());
    ByteBuffer reply = exchange.ask(1, 1, args("absent"));
    assertThat(reply.capacity()).isEqualTo(HEADER + 128);
    assertThat(reply.getLong(HEADER)).isZero();
    assertThat(reply.getLong(HEADER + 16)).isEqualTo(3600);
  }

  private record Dirent(String name, long ino, long cookie, int type, long node) {}

  private static List<Dirent> parse(ByteBuffer b, boolean plus) {
    List<Dirent> list = new ArrayList<>();
    int at = HEADER;
    while (at < b.capacity()) {
      long node = plus ? b.getLong(at) : 0;
      at += plus ? 128 : 0;
      byte[] name = new byte[b.getInt(at + 16)];
      b.get(at + 24, name);
      list.add(
          new Dirent(
              new String(name, StandardCharsets.ISO_8859_1),
              b.getLong(at),
              b.getLong(at + 8),
              b.getInt(at + 20),
              node));
      at += (24 + name.length + 7) / 8 * 8;
    }
    assertThat(at).isEqualTo(b.capacity());
    return list;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void listingsFillTheRequestedSizeAndGoOn(boolean plus) {
    MemoryFileSystem files = new MemoryFileSystem();
    exchange = new Exchange(files);
    for (int i = 0; i < 100; i++) {
      exchange.ask(8, 1, args(0100600, 0, 0, 0, "n".repeat(i + 1)));
    }
    List<Dirent> all = new ArrayList<>();
    long cookie = 0;
    while (true) {
      ByteBuffer reply = exchange.ask(plus ? 44 : 28, 1, args(1L, cookie, 1000, 0, 0L, 0, 0));
      assertThat(reply.capacity()).isLessThanOrEqualTo(HEADER + 1000);
      List<Dirent> part = parse(reply, plus);
      if (part.isEmpty()) {
        break;
      }
      all.addAll(part);
      cookie = part.getLast().cookie();
    }
    assertThat(all).hasSize(100);
    for (int i = 0; i < 100; i++) {
      assertThat(all.get(i).name()).isEqualTo("n".repeat(i + 1));
      assertThat(all.get(i).type()).isEqualTo(8);
      assertThat(all.get(i).node()).isEqualTo(plus ? all.get(i).ino() : 0);
    }
  }

  @Test
  void entriesWithoutAttributesMayStandAmongOthers() {
    exchange =
        new Exchange(
            new MemoryFileSystem() {
              @Override
              public int readdirplus(long node, long handle, long cookie, DirectoryOutput out) {
                assertThat(out.add(".", 1, 4, 1)).isTrue();
                return -Errno.EIO;
              }
            });
    // The error must wait: the entry is already there.
    assertThat(parse(exchange.ask(44, 1, args(1L, 0L, 1000, 0, 0L, 0, 0)), true))
        .containsExactly(new Dirent(".", 1, 1, 4, 0));
    assertError(exchange.ask(28, 99, args(1L, 0L, 1000, 0, 0L, 0, 0)), Errno.ESTALE);
  }

  @Test
  void readsAreBuiltInPlace() {
    exchange =
        new Exchange(
            new MemoryFileSystem() {
              @Override
              public synchronized int read(
                  long node, long handle, long offset, int size, int openFlags, long address) {
                assertThat(address % 4096).isZero();
                Memory.fill(address, size, 0x11);
                return size;
              }
            });
    ByteBuffer reply = exchange.ask(15, 1, args(7L, 0L, Exchange.CAPACITY, 0, 8L, 0, 0));
    assertThat(reply.capacity()).isEqualTo(HEADER + Exchange.CAPACITY);
    assertThat(reply.get(HEADER)).isEqualTo((byte) 0x11);
    assertThat(reply.get(reply.capacity() - 1)).isEqualTo((byte) 0x11);
  }

  @Test
  void lseekPassesHugeOffsets() {
    result = Long.MIN_VALUE;
    assertError(exchange.ask(46, 5, args(7L, 8L, Posix.SEEK_DATA, 0)), Errno.EIO);
  }
}
