package io.pgveil.datadir;

import org.jspecify.annotations.Nullable;

/**
 * What a directory is to PostgreSQL, and so what its files are. A pure function of the path from
 * the root of a view; the table of file kinds in ARCHITECTURE.md.
 *
 * @param role the directory's role
 * @param tablespace tablespace OID, where the role has one; {@link #UNRESOLVED} for the tablespace
 *     of a view of its own, whose OID only the link in pg_tblspc tells
 * @param database database OID, where the role has one (0 for global/)
 */
public record Place(Role role, int tablespace, int database) {

  public static final int DEFAULT_TABLESPACE = 1663;
  public static final int GLOBAL_TABLESPACE = 1664;
  public static final int UNRESOLVED = 0;

  /** Root of a data directory. */
  public static final Place DATA_DIRECTORY = new Place(Role.ROOT, 0, 0);

  /** Root of a tablespace served by a view of its own. */
  public static final Place TABLESPACE_VIEW = new Place(Role.TABLESPACE, UNRESOLVED, 0);

  private static final Place OTHER = new Place(Role.OTHER, 0, 0);
  private static final Place SPILL = new Place(Role.SPILL, 0, 0);
  private static final Place KEYS = new Place(Role.KEYS, 0, 0);

  /** What a directory is for. */
  public enum Role {
    ROOT,
    BASE,
    /** {@code base/DB}, {@code global}, {@code pg_tblspc/SPC/PG_x/DB}. */
    DATABASE,
    TABLESPACES,
    TABLESPACE,
    TABLESPACE_VERSION,
    WAL,
    SLOTS,
    SLOT,
    SPILL,
    KEYS,
    OTHER
  }

  /** The place of the directory {@code name} in this one. */
  public Place directory(String name) {
    if (name.startsWith("pgsql_tmp")) {
      return SPILL;
    }
    return switch (role) {
      case ROOT ->
          switch (name) {
            case "base" -> new Place(Role.BASE, DEFAULT_TABLESPACE, 0);
            case "global" -> new Place(Role.DATABASE, GLOBAL_TABLESPACE, 0);
            case "pg_tblspc" -> new Place(Role.TABLESPACES, 0, 0);
            case "pg_wal" -> new Place(Role.WAL, 0, 0);
            case "pg_replslot" -> new Place(Role.SLOTS, 0, 0);
            case "pg_stat_tmp" -> SPILL;
            case DataDirectory.KEY_DIRECTORY -> KEYS;
            default -> OTHER;
          };
      case BASE, TABLESPACE_VERSION -> {
        int oid = RelationFile.parseOid(name);
        yield oid == 0 ? OTHER : new Place(Role.DATABASE, tablespace, oid);
      }
      case TABLESPACES -> {
        int oid = RelationFile.parseOid(name);
        yield oid == 0 ? OTHER : new Place(Role.TABLESPACE, oid, 0);
      }
      case TABLESPACE ->
          name.startsWith("PG_") ? new Place(Role.TABLESPACE_VERSION, tablespace, 0) : OTHER;
      case SLOTS -> new Place(Role.SLOT, 0, 0);
      case SPILL -> SPILL;
      case KEYS -> KEYS;
      case DATABASE, WAL, SLOT, OTHER -> OTHER;
    };
  }

  /** The kind of the file {@code name} in this directory. */
  public FileKind file(String name) {
    if (role == Role.KEYS) {
      return FileKind.KEY_FILE;
    }
    if (role == Role.SPILL || name.startsWith("pgsql_tmp")) {
      return FileKind.SPILL;
    }
    return switch (role) {
      case DATABASE -> {
        RelationFile f = relationFile(name);
        if (f == null) {
          yield FileKind.SEALED;
        }
        yield f.isTemporary() ? FileKind.TEMP_RELATION : FileKind.RELATION;
      }
      case WAL -> {
        if (WalFileName.parse(name) != null) {
          yield FileKind.WAL_SEGMENT;
        }
        yield name.startsWith("xlogtemp.") || name.equals("RECOVERYXLOG")
            ? FileKind.WAL_TEMPORARY
            : FileKind.SEALED;
      }
      case SLOT -> name.startsWith("xid-") ? FileKind.SPILL : FileKind.SEALED;
      default -> FileKind.SEALED;
    };
  }

  /** The relation part that {@code name} holds here, or null. */
  public @Nullable RelationFile relationFile(String name) {
    return role == Role.DATABASE ? RelationFile.parse(tablespace, database, name) : null;
  }

  /**
   * Whether a directory may be renamed from this place to {@code other} as it is: every file below
   * keeps kind and key.
   */
  boolean holdsTheSameAs(Place other) {
    return equals(other);
  }
}
