package io.pgveil.keys;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * One record of {@code <oid>_providers} (pg_tde format 5), {@value #SIZE} bytes: id (4, signed;
 * negative in the global file), name (128, NUL-terminated), options (1024, JSON text,
 * NUL-terminated), type (4; 0 for a deleted record, which keeps its id).
 *
 * @param owner OID of the database, or 1664 for a global provider
 */
public record ProviderRecord(int owner, int id, String name, String options, int type) {
  /** Length of a record in bytes. */
  public static final int SIZE = 1160;

  static final int NAME_SIZE = 128;
  static final int OPTIONS_SIZE = 1024;
  private static final int NAME_AT = 4;
  private static final int OPTIONS_AT = 132;
  private static final int TYPE_AT = 1156;

  /**
   * Every record of a providers file, deleted ones too; what is left of a record that is cut off at
   * the end is not one.
   */
  public static List<ProviderRecord> readAll(int owner, byte[] file) {
    List<ProviderRecord> records = new ArrayList<>();
    for (int at = 0; at + SIZE <= file.length; at += SIZE) {
      records.add(read(owner, file, at));
    }
    return records;
  }

  static ProviderRecord read(int owner, byte[] file, int at) {
    return new ProviderRecord(
        owner,
        Bytes.getInt(file, at),
        Bytes.getText(file, at + NAME_AT, NAME_SIZE),
        Bytes.getText(file, at + OPTIONS_AT, OPTIONS_SIZE),
        Bytes.getInt(file, at + TYPE_AT));
  }

  void write(byte[] file, int at) {
    Bytes.putInt(file, at, id);
    Bytes.putText(file, at + NAME_AT, NAME_SIZE, name);
    Bytes.putText(file, at + OPTIONS_AT, OPTIONS_SIZE, options);
    Bytes.putInt(file, at + TYPE_AT, type);
  }

  public boolean isDeleted() {
    return type == 0;
  }

  static int lengthInBytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }
}
