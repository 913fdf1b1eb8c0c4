package io.pgveil.ciphers;

import static org.assertj.core.api.Assertions.assertThat;

import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * What a power cut in the middle of one operation on a sealed file may leave, and whether bytes
 * that were durable before are still there.
 *
 * <p>The model: an operation is a sequence of steps with an fdatasync between them. A step changes
 * sectors of 512 bytes and the size. A cut during a step leaves any subset of its sectors changed,
 * with the old size, the new one or one between; earlier steps are complete. Bytes behind the
 * persisted size are gone and read as zeros if the file grows again. Then the file is opened and
 * read by a decoder that knows nothing but size and bytes.
 *
 * <p>Allowed is what an unencrypted file would allow: each byte below the old length that the
 * operation does not write keeps its value, each other byte has the old or the new one (0 where
 * there was none). The rules of the data directory (header first, grow-prepare, one write) are here
 * in their shortest form. Schemes that break one of them must be caught, or the model proves
 * nothing.
 */
class PowerCutTest {
  private static final int UNIT = SealedLayout.UNIT;
  private static final byte[] SEAL_KEY = Testing.counting(0x60, 32);
  private static final byte[] ID = Testing.counting(0xc0, 16);

  private static final int[] LENGTHS = {0, 1, 15, 16, 17, 100, 511, 512, 513, 1000, 1024, 1025};

  /** Bytes on the disk; the length of the array is the size. */
  private static final class Disk {
    private final byte[] bytes;

    Disk(byte[] bytes) {
      this.bytes = bytes;
    }

    /** The same bytes with another size; growth adds zeros. */
    Disk resized(long size) {
      return new Disk(Arrays.copyOf(bytes, (int) size));
    }

    Disk with(long offset, byte[] data) {
      Disk disk = resized(Math.max(bytes.length, offset + data.length));
      System.arraycopy(data, 0, disk.bytes, (int) offset, data.length);
      return disk;
    }
  }

  /** A durable state, and the states that a cut on the way from one to the next may leave. */
  private static List<Disk> cuts(Disk before, Disk after) {
    int size = Math.max(before.bytes.length, after.bytes.length);
    byte[] old = before.resized(size).bytes;
    byte[] changed = after.resized(size).bytes;
    List<Integer> touched = new ArrayList<>();
    for (int at = 0; at < size; at += UNIT) {
      int end = Math.min(size, at + UNIT);
      if (!Arrays.equals(old, at, end, changed, at, end)) {
        touched.add(at);
      }
    }
    assertThat(touched).as("a subset is an int").hasSizeLessThan(16);
    SortedSet<Integer> sizes =
        new TreeSet<>(
            List.of(
                before.bytes.length,
                after.bytes.length,
                (before.bytes.length + after.bytes.length) / 2));
    List<Disk> result = new ArrayList<>();
    for (int subset = 0; subset < 1 << touched.size(); subset++) {
      byte[] mixed = old.clone();
      for (int i = 0; i < touched.size(); i++) {
        int at = touched.get(i);
        if ((subset >> i & 1) != 0) {
          System.arraycopy(changed, at, mixed, at, Math.min(size, at + UNIT) - at);
        }
      }
      for (int cut : sizes) {
        result.add(new Disk(mixed).resized(cut));
      }
    }
    return result;
  }

  /** The sealed file as crypto-notes define it; subclasses break one rule each. */
  private static class Sealed {
    private final byte[] header = SealedHeader.create(ID, ID, SEAL_KEY);
    private final SealedCipher cipher =
        new SealedCipher(SealedKeys.fileKey(SEAL_KEY, SealedHeader.AES_256_XTS, ID));

    /** Encrypts a unit of which {@code valid} bytes lie below the end of the file. */
    byte[] encode(long unit, byte[] clear, int valid) {
      byte[] out = new byte[UNIT];
      assertThat(cipher.encrypt(unit, clear, 0, 1, out, 0)).isTrue();
      return out;
    }

    byte[] decode(long unit, byte[] stored, int valid) {
      byte[] out = new byte[UNIT];
      cipher.decrypt(unit, stored, 0, 1, out, 0);
      return out;
    }

    /** The clear file, or null if it cannot be opened. */
    byte @Nullable [] read(Disk disk) {
      int length = (int) SealedLayout.clearLength(disk.bytes.length);
      if (length == 0) {
        return new byte[0];
      }
      if (!(SealedHeader.parse(disk.bytes, id -> SEAL_KEY) instanceof SealedHeader.Valid)) {
        return null;
      }
      byte[] clear = new byte[length];
      for (int at = 0; at < length; at += UNIT) {
        int valid = Math.min(UNIT, length - at);
        System.arraycopy(unit(disk, at / UNIT, length), 0, clear, at, valid);
      }
      return clear;
    }

    /** The clear bytes of a unit, those behind the end of the file as they are stored. */
    byte[] unit(Disk disk, long unit, int length) {
      int at = (int) SealedLayout.unitOffset(unit);
      byte[] stored = Arrays.copyOfRange(disk.bytes, at, at + UNIT);
      return decode(unit, stored, (int) Math.min(UNIT, length - unit * UNIT));
    }

    /** A write; returns the durable states on the way, from {@code disk} to the end. */
    List<Disk> write(Disk disk, int offset, byte[] data) {
      List<Disk> steps = new ArrayList<>();
      steps.add(disk);
      int length = (int) SealedLayout.clearLength(disk.bytes.length);
      int newLength = Math.max(length, offset + data.length);
      if (newLength > length) {
        prepareGrowth(steps, length);
      }
      Disk d = steps.getLast();
      int low = offset / UNIT * UNIT;
      byte[] clear = new byte[(offset + data.length - low + UNIT - 1) & -UNIT];
      for (int at = 0; at < clear.length; at += UNIT) {
        int valid = Math.clamp(length - low - at, 0, UNIT);
        if (valid > 0) {
          System.arraycopy(unit(d, (low + at) / UNIT, length), 0, clear, at, valid);
        }
      }
      System.arraycopy(data, 0, clear, offset - low, data.length);
      for (int at = 0; at < clear.length; at += UNIT) {
        byte[] unit = Arrays.copyOfRange(clear, at, at + UNIT);
        int valid = Math.min(UNIT, newLength - low - at);
        int number = (low + at) / UNIT;
        d = d.with(SealedLayout.unitOffset(number), encode(number, unit, valid));
      }
      if (newLength > length) {
        d = zeroSlack(d, newLength);
        d = reencodeOldTail(d, length, newLength, low);
      }
      steps.add(d);
      return steps;
    }

    List<Disk> truncate(Disk disk, int newLength) {
      List<Disk> steps = new ArrayList<>();
      steps.add(disk);
      int length = (int) SealedLayout.clearLength(disk.bytes.length);
      if (newLength > length) {
        prepareGrowth(steps, length);
      }
      Disk d = steps.getLast().resized(SealedLayout.cipherSize(newLength));
      if (newLength > 0) {
        d = reencodeOldTail(d, length, newLength, Integer.MAX_VALUE);
      }
      steps.add(d);
      return steps;
    }

    /** Header first; then zeros, durably, where the file will grow over stale bytes. */
    void prepareGrowth(List<Disk> steps, int length) {
      Disk d = steps.getLast();
      if (length == 0) {
        steps.add(d.resized(0).with(0, header));
        return;
      }
      if (length % UNIT != 0) {
        byte[] last = unit(d, length / UNIT, length);
        byte[] padded = Arrays.copyOf(Arrays.copyOf(last, length % UNIT), UNIT);
        if (!Arrays.equals(last, padded)) {
          long unit = length / UNIT;
          d = d.with(SealedLayout.unitOffset(unit), encode(unit, padded, length % UNIT));
        }
      }
      steps.add(zeroSlack(d, length));
    }

    /** A decoder that ignores the length has no use for this. */
    Disk reencodeOldTail(Disk disk, int length, int newLength, int firstWritten) {
      return disk;
    }

    byte[] header() {
      return header;
    }

    static Disk zeroSlack(Disk disk, int length) {
      long slack = SealedLayout.slackOffset(length);
      return disk.with(slack, new byte[(int) (SealedLayout.cipherSize(length) - slack)]);
    }
  }

  /** Bad: ciphertext stealing inside the last sector, so that it decrypts by the length. */
  private static final class Stealing extends Sealed {
    private final Cipher encrypt;
    private final Cipher decrypt;

    Stealing() {
      try {
        SecretKeySpec key = new SecretKeySpec(new byte[16], "AES");
        encrypt = Cipher.getInstance("AES/CTS/NoPadding");
        encrypt.init(Cipher.ENCRYPT_MODE, key, iv());
        decrypt = Cipher.getInstance("AES/CTS/NoPadding");
        decrypt.init(Cipher.DECRYPT_MODE, key, iv());
      } catch (GeneralSecurityException e) {
        throw new AssertionError(e);
      }
    }

    private static IvParameterSpec iv() {
      return new IvParameterSpec(new byte[16]);
    }

    @Override
    byte[] encode(long unit, byte[] clear, int valid) {
      return valid > 16 && valid < UNIT
          ? stealing(encrypt, clear, valid)
          : super.encode(unit, clear, valid);
    }

    @Override
    byte[] decode(long unit, byte[] stored, int valid) {
      return valid > 16 && valid < UNIT && !Arrays.equals(stored, new byte[UNIT])
          ? stealing(decrypt, stored, valid)
          : super.decode(unit, stored, valid);
    }

    private static byte[] stealing(Cipher cipher, byte[] in, int valid) {
      try {
        return Arrays.copyOf(cipher.doFinal(in, 0, valid), UNIT);
      } catch (GeneralSecurityException e) {
        throw new AssertionError(e);
      }
    }

    @Override
    Disk reencodeOldTail(Disk disk, int length, int newLength, int firstWritten) {
      int kept = Math.min(length, newLength);
      int tail = kept / UNIT * UNIT;
      if (kept % UNIT == 0 || tail >= firstWritten) {
        return disk;
      }
      long unit = tail / UNIT;
      byte[] clear = unit(disk, unit, length);
      byte[] padded = Arrays.copyOf(Arrays.copyOf(clear, kept - tail), UNIT);
      return disk.with(
          SealedLayout.unitOffset(unit), encode(unit, padded, Math.min(UNIT, newLength - tail)));
    }
  }

  /** Bad: the header goes out together with the first data. */
  private static final class HeaderWithData extends Sealed {
    @Override
    void prepareGrowth(List<Disk> steps, int length) {
      if (length > 0) {
        super.prepareGrowth(steps, length);
      }
    }

    @Override
    List<Disk> write(Disk disk, int offset, byte[] data) {
      return withHeader(disk, super.write(disk, offset, data));
    }

    @Override
    List<Disk> truncate(Disk disk, int newLength) {
      return withHeader(disk, super.truncate(disk, newLength));
    }

    private List<Disk> withHeader(Disk disk, List<Disk> steps) {
      if (disk.bytes.length == 0) {
        steps.set(steps.size() - 1, steps.getLast().with(0, header()));
      }
      return steps;
    }
  }

  /** Bad: what a truncation left behind is not cleaned before the file grows over it. */
  private static final class NoGrowPrepare extends Sealed {
    @Override
    void prepareGrowth(List<Disk> steps, int length) {
      if (length == 0) {
        super.prepareGrowth(steps, length);
      }
    }
  }

  private enum Loss {
    HEADER,
    LENGTH,
    DURABLE_BYTE,
    NEW_BYTE,
    WITHOUT_CUT
  }

  /** Cuts that were looked at, and what was wrong with some of them: a few examples. */
  private static final class Outcome {
    int cuts;
    final Map<Loss, List<String>> losses = new EnumMap<>(Loss.class);
  }

  @Test
  void noDurableByteIsLost() {
    Outcome outcome = cutEverything(new Sealed(), true);
    assertThat(outcome.losses).isEmpty();
    assertThat(outcome.cuts).isGreaterThan(100_000);
  }

  @Test
  void theModelCatchesATailThatDependsOnTheLength() {
    Outcome outcome = cutEverything(new Stealing(), false);
    assertThat(outcome.losses.keySet())
        .contains(Loss.DURABLE_BYTE)
        .doesNotContain(Loss.WITHOUT_CUT);
  }

  @Test
  void theModelCatchesAHeaderThatIsNotFirst() {
    Outcome outcome = cutEverything(new HeaderWithData(), false);
    assertThat(outcome.losses.keySet()).contains(Loss.HEADER).doesNotContain(Loss.WITHOUT_CUT);
  }

  @Test
  void theModelCatchesStaleBytesThatGrowthShows() {
    assertThat(cutEverything(new NoGrowPrepare(), false).losses.keySet())
        .contains(Loss.WITHOUT_CUT);
  }

  /**
   * Cuts each operation from each starting length and, if {@code twice}, a second operation from
   * every state that a cut during the first may leave.
   */
  private static Outcome cutEverything(Sealed sealed, boolean twice) {
    Outcome outcome = new Outcome();
    for (int length : LENGTHS) {
      for (Disk start : starts(sealed, length)) {
        for (Operation operation : operations(length)) {
          List<Disk> cuts = cutOperation(sealed, start, operation, outcome);
          for (Disk cut : twice ? cuts : List.<Disk>of()) {
            int left = (int) SealedLayout.clearLength(cut.bytes.length);
            for (Operation next : nextOperations(left)) {
              var _ = cutOperation(sealed, cut, next, outcome);
            }
          }
        }
      }
    }
    return outcome;
  }

  /** A file of a length: made by one write, and truncated down from a longer one. */
  private static List<Disk> starts(Sealed sealed, int length) {
    Disk empty = new Disk(new byte[0]);
    if (length == 0) {
      return List.of(empty);
    }
    byte[] data = Testing.random(1, length + 700);
    Disk written = sealed.write(empty, 0, Arrays.copyOf(data, length)).getLast();
    Disk longer = sealed.write(empty, 0, data).getLast();
    return List.of(written, sealed.truncate(longer, length).getLast());
  }

  /** A write of random bytes at {@code offset}, or a truncation to {@code offset}. */
  private record Operation(boolean isWrite, int offset, int size) {
    static Operation write(int offset, int size) {
      return new Operation(true, offset, size);
    }

    static Operation truncate(int length) {
      return new Operation(false, length, 0);
    }

    byte[] data() {
      return Testing.random(offset * 31L + size, size);
    }

    int newLength(int length) {
      return isWrite ? Math.max(length, offset + size) : offset;
    }

    boolean writes(int i) {
      return isWrite && i >= offset && i < offset + size;
    }
  }

  private static List<Operation> operations(int length) {
    List<Operation> list = new ArrayList<>();
    for (int size : new int[] {1, 16, 100, 512, 700}) {
      list.add(Operation.write(length, size));
      list.add(Operation.write(length + 30, size));
      list.add(Operation.write(length / 2, size));
      list.add(Operation.write(0, size));
    }
    list.add(Operation.write(length + 600, 20));
    for (int longer : new int[] {1, 16, 412, 600}) {
      list.add(Operation.truncate(length + longer));
    }
    for (int shorter : new int[] {length - 1, length / 2, length - 600}) {
      if (shorter > 0) {
        list.add(Operation.truncate(shorter));
      }
    }
    return list;
  }

  private static List<Operation> nextOperations(int length) {
    return List.of(
        Operation.write(length, 100),
        Operation.write(length + 40, 512),
        Operation.write(length / 2, 60),
        Operation.truncate(length + 100),
        Operation.truncate(length + 600));
  }

  /** Cuts an operation everywhere and judges what is left; returns the cuts. */
  private static List<Disk> cutOperation(
      Sealed sealed, Disk start, Operation operation, Outcome outcome) {
    byte[] old = sealed.read(start);
    if (old == null) {
      return List.of();
    }
    List<Disk> steps =
        operation.isWrite
            ? sealed.write(start, operation.offset, operation.data())
            : sealed.truncate(start, operation.offset);
    List<Disk> all = new ArrayList<>();
    for (int i = 1; i < steps.size(); i++) {
      all.addAll(cuts(steps.get(i - 1), steps.get(i)));
    }
    for (Disk cut : all) {
      outcome.cuts++;
      judge(old, operation, sealed.read(cut)).ifPresent(loss -> add(outcome, loss, old, operation));
    }
    byte[] done = sealed.read(steps.getLast());
    byte[] expected = Arrays.copyOf(old, operation.newLength(old.length));
    System.arraycopy(operation.data(), 0, expected, operation.offset, operation.size);
    if (done == null || !Arrays.equals(done, expected)) {
      add(outcome, Loss.WITHOUT_CUT, old, operation);
    }
    return all;
  }

  private static void add(Outcome outcome, Loss loss, byte[] old, Operation operation) {
    List<String> examples = outcome.losses.computeIfAbsent(loss, _ -> new ArrayList<>());
    if (examples.size() < 5) {
      examples.add("length " + old.length + ", " + operation);
    }
  }

  private static Optional<Loss> judge(byte[] old, Operation operation, byte @Nullable [] found) {
    if (found == null) {
      return Optional.of(Loss.HEADER);
    }
    int newLength = operation.newLength(old.length);
    if (found.length < Math.min(old.length, newLength)
        || found.length > Math.max(old.length, newLength)) {
      return Optional.of(Loss.LENGTH);
    }
    byte[] data = operation.data();
    // Nobody wants the bytes back that a truncation was to remove.
    int kept = newLength < old.length ? newLength : found.length;
    for (int i = 0; i < kept; i++) {
      byte before = i < old.length ? old[i] : 0;
      boolean isNew = operation.writes(i) && found[i] == data[i - operation.offset];
      if (found[i] != before && !isNew) {
        return Optional.of(i < old.length ? Loss.DURABLE_BYTE : Loss.NEW_BYTE);
      }
    }
    return Optional.empty();
  }
}
