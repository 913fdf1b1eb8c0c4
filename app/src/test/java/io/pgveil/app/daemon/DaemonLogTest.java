package io.pgveil.app.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.LoggerFactory;

class DaemonLogTest {
  private static final long FULL = 10L << 20;

  private final Logger logger = (Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);

  @TempDir Path directory;
  private Path log;
  private Level level;

  @BeforeEach
  void before() {
    log = directory.resolve("log/pgveil.log");
    level = logger.getLevel();
  }

  @AfterEach
  void closeLog() {
    var appender = logger.getAppender("file");
    if (appender != null) {
      logger.detachAppender(appender);
      appender.stop();
    }
    logger.setLevel(level);
  }

  /** The size is looked at with the first event, and then at most once a minute. */
  private void start(String event) throws Exception {
    closeLog();
    DaemonLog.toFile(log, org.slf4j.event.Level.INFO);
    logger.info(event);
  }

  private void fill() throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(log.toFile(), "rw")) {
      file.setLength(FULL + 1);
    }
  }

  @Test
  void aFullFileGivesWayAndFiveOldOnesAreKept() throws Exception {
    start("event 0");
    for (int i = 1; i <= 7; i++) {
      fill();
      start("event " + i);
      assertThat(Files.readString(log)).endsWith(": event " + i + "\n").hasLineCount(1);
    }
    for (int i = 1; i <= 5; i++) {
      Path old = log.resolveSibling("pgveil.log." + i);
      assertThat(old).hasSize(FULL + 1);
      try (RandomAccessFile file = new RandomAccessFile(old.toFile(), "r")) {
        assertThat(file.readLine()).endsWith(": event " + (7 - i));
      }
    }
    assertThat(log.resolveSibling("pgveil.log.6")).doesNotExist();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(log)))
        .isEqualTo("rw-r-----");
  }

  @Test
  void aFileThatIsNotFullGoesOn() throws Exception {
    start("one");
    start("two");
    assertThat(Files.readString(log)).hasLineCount(2);
    assertThat(log.resolveSibling("pgveil.log.1")).doesNotExist();
  }
}
