package io.pgveil.datadir;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The value of {@code pg_tde.wal_encrypt} as the server that is starting will see it: command line
 * ({@code postmaster.opts}), then {@code postgresql.auto.conf}, then {@code postgresql.conf} with
 * its includes. Nothing said means on.
 *
 * <p>Files below the mount are read through the cipher layer, never through the mount: the daemon
 * must not wait for itself (hazard 13).
 */
final class WalEncryptionSetting {
  private static final Logger log = LoggerFactory.getLogger(WalEncryptionSetting.class);
  private static final String NAME = "pg_tde.wal_encrypt";
  private static final int MAX_DEPTH = 10;
  private static final int MAX_FILES = 1000;

  /** A path may lead to a device that never ends, or to a pipe. */
  private static final int MAX_SIZE = 1 << 20;

  /** Reads a file of the data directory by its path relative to the root, null if absent. */
  interface ClearFiles {
    byte @Nullable [] read(String relativePath) throws IOException;

    List<String> list(String relativePath) throws IOException;
  }

  private final ClearFiles files;
  private final @Nullable Path mountPoint;
  private int filesRead;

  WalEncryptionSetting(ClearFiles files, @Nullable Path mountPoint) {
    this.files = files;
    this.mountPoint = mountPoint == null ? null : mountPoint.toAbsolutePath().normalize();
  }

  boolean isOn() {
    filesRead = 0;
    try {
      List<String> options = commandLine();
      String value = null;
      String configFile = "postgresql.conf";
      boolean absolute = false;
      for (int i = 0; i < options.size(); i++) {
        String o = options.get(i);
        String assignment = null;
        if (o.equals("-c") && i + 1 < options.size()) {
          assignment = options.get(++i);
        } else if (o.startsWith("-c")) {
          assignment = o.substring(2);
        } else if (o.startsWith("--")) {
          assignment = o.substring(2);
        }
        if (assignment == null || assignment.indexOf('=') < 0) {
          continue;
        }
        String name = assignment.substring(0, assignment.indexOf('=')).replace('-', '_');
        String v = assignment.substring(assignment.indexOf('=') + 1);
        if (name.equalsIgnoreCase(NAME)) {
          value = v;
        } else if (name.equalsIgnoreCase("config_file")) {
          configFile = v;
          absolute = v.startsWith("/");
        }
      }
      if (value == null) {
        value = fromFile(new Source("postgresql.auto.conf", false), 0);
      }
      if (value == null) {
        value = fromFile(new Source(configFile, absolute), 0);
      }
      return value == null || isTrue(value);
    } catch (IOException | InvalidPathException | DirectoryIteratorException e) {
      log.warn("{} cannot be determined, WAL is encrypted: {}", NAME, e.getMessage());
      return true;
    }
  }

  /** A configuration file: by path relative to the data directory, or outside of it. */
  private record Source(String path, boolean absolute) {}

  private List<String> commandLine() throws IOException {
    byte[] opts = files.read("postmaster.opts");
    return opts == null ? List.of() : words(text(opts));
  }

  /** Words of a postmaster.opts line: each argument stands in double quotes. */
  static List<String> words(String line) {
    List<String> out = new ArrayList<>();
    StringBuilder b = new StringBuilder();
    boolean quoted = false;
    boolean any = false;
    for (char c : line.strip().toCharArray()) {
      if (c == '"') {
        quoted = !quoted;
        any = true;
      } else if (!quoted && Character.isWhitespace(c)) {
        if (any) {
          out.add(b.toString());
        }
        b.setLength(0);
        any = false;
      } else {
        b.append(c);
        any = true;
      }
    }
    if (any) {
      out.add(b.toString());
    }
    return out;
  }

  private @Nullable String fromFile(Source source, int depth) throws IOException {
    // files that include two others ten deep are a thousand; WAL waits for this
    if (depth > MAX_DEPTH || ++filesRead > MAX_FILES) {
      throw new IOException("configuration files include each other: " + source.path());
    }
    byte[] content = read(source);
    if (content == null) {
      return null;
    }
    String value = null;
    for (String line : text(content).split("\n")) {
      String[] setting = parse(line);
      if (setting == null) {
        continue;
      }
      switch (setting[0].toLowerCase(Locale.ROOT)) {
        case NAME -> value = setting[1];
        case "include", "include_if_exists" -> {
          String v = fromFile(beside(source, setting[1]), depth + 1);
          value = v == null ? value : v;
        }
        case "include_dir" -> {
          for (Source s : listed(beside(source, setting[1]))) {
            String v = fromFile(s, depth + 1);
            value = v == null ? value : v;
          }
        }
        default -> {}
      }
    }
    return value;
  }

  /** Name and value of one line of a configuration file, null for comments and noise. */
  static String @Nullable [] parse(String line) {
    String s = line.strip();
    int p = 0;
    while (p < s.length()
        && (Character.isLetterOrDigit(s.charAt(p)) || s.charAt(p) == '_' || s.charAt(p) == '.')) {
      p++;
    }
    if (p == 0) {
      return null;
    }
    String name = s.substring(0, p);
    String rest = s.substring(p).strip();
    if (rest.startsWith("=")) {
      rest = rest.substring(1).strip();
    }
    if (rest.startsWith("'")) {
      StringBuilder b = new StringBuilder();
      for (int i = 1; i < rest.length(); i++) {
        char c = rest.charAt(i);
        if (c == '\'') {
          if (i + 1 < rest.length() && rest.charAt(i + 1) == '\'') {
            i++;
          } else {
            return new String[] {name, b.toString()};
          }
        }
        b.append(c);
      }
      return null;
    }
    int end = 0;
    while (end < rest.length()
        && rest.charAt(end) != '#'
        && !Character.isWhitespace(rest.charAt(end))) {
      end++;
    }
    return end == 0 ? null : new String[] {name, rest.substring(0, end)};
  }

  private Source beside(Source including, String path) {
    if (path.startsWith("/")) {
      return new Source(path, true);
    }
    int slash = including.path().lastIndexOf('/');
    return new Source(
        slash < 0 ? path : including.path().substring(0, slash + 1) + path, including.absolute());
  }

  private byte @Nullable [] read(Source source) throws IOException {
    String inside = inside(source);
    if (inside != null) {
      return files.read(inside);
    }
    Path p = Path.of(source.path());
    if (!Files.exists(p)) {
      return null;
    }
    if (!Files.isRegularFile(p) || Files.size(p) > MAX_SIZE) {
      throw new IOException(p + " is no regular file of fitting size");
    }
    return Files.readAllBytes(p);
  }

  private List<Source> listed(Source directory) throws IOException {
    List<Source> out = new ArrayList<>();
    String inside = inside(directory);
    if (inside != null) {
      for (String n : files.list(inside)) {
        if (n.endsWith(".conf") && !n.startsWith(".")) {
          out.add(new Source(inside + "/" + n, false));
        }
      }
    } else {
      try (DirectoryStream<Path> s =
          Files.newDirectoryStream(Path.of(directory.path()), "*.conf")) {
        s.forEach(p -> out.add(new Source(p.toString(), true)));
      }
    }
    out.sort(java.util.Comparator.comparing(Source::path));
    return out;
  }

  /** The path relative to the data directory, null if it lies outside. */
  private @Nullable String inside(Source source) {
    if (!source.absolute()) {
      return source.path();
    }
    if (mountPoint == null) {
      return null;
    }
    Path p = Path.of(source.path()).normalize();
    return p.startsWith(mountPoint) ? mountPoint.relativize(p).toString() : null;
  }

  private static String text(byte[] b) {
    return new String(b, java.nio.charset.StandardCharsets.UTF_8);
  }

  /** PostgreSQL's spelling of booleans: any unique prefix of true/yes/on, false/no/off, 1, 0. */
  static boolean isTrue(String value) {
    String v = value.toLowerCase(Locale.ROOT);
    return !(v.equals("0")
        || v.equals("of")
        || v.equals("off")
        || (!v.isEmpty() && ("false".startsWith(v) || "no".startsWith(v))));
  }
}
