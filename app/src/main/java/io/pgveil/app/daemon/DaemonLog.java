package io.pgveil.app.daemon;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.filter.ThresholdFilter;
import ch.qos.logback.classic.spi.Configurator;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.OutputStreamAppender;
import ch.qos.logback.core.rolling.FixedWindowRollingPolicy;
import ch.qos.logback.core.rolling.RollingFileAppender;
import ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy;
import ch.qos.logback.core.spi.ContextAwareBase;
import ch.qos.logback.core.util.FileSize;
import io.pgveil.app.error.CommandException;
import io.pgveil.app.error.ExitCode;
import io.pgveil.app.postgres.Modes;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where log events go. Commands log warnings to standard error; a daemon logs to a file as well, of
 * mode 0640, which is rotated by size ({@code pgveil.log}, {@code pgveil.log.1} ... {@code .5}, 10
 * MiB each).
 *
 * <p>Configured in code and found by ServiceLoader: reading XML would take longer than most
 * commands.
 */
public final class DaemonLog extends ContextAwareBase implements Configurator {
  private static final String FILE_PATTERN =
      "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level [%thread] %logger{0}: %msg%n";
  private static final String CONSOLE_PATTERN = "pgveil: %level: %msg%n%nopex";
  private static final String MAX_SIZE = "10MB";
  private static final int OLD_FILES = 5;

  @Override
  public ExecutionStatus configure(LoggerContext context) {
    ConsoleAppender<ILoggingEvent> console = new ConsoleAppender<>();
    console.setName("console");
    console.setTarget("System.err");
    ThresholdFilter filter = new ThresholdFilter();
    filter.setLevel(Level.WARN.levelStr);
    filter.start();
    console.addFilter(filter);
    start(context, console, CONSOLE_PATTERN);
    context.getLogger(Logger.ROOT_LOGGER_NAME).setLevel(Level.WARN);
    return ExecutionStatus.DO_NOT_INVOKE_NEXT_IF_ANY;
  }

  /**
   * Logs to {@code file} from now on.
   *
   * @param level lowest level of the events that are written
   */
  public static void toFile(Path file, org.slf4j.event.Level level) throws CommandException {
    try {
      Path directory = file.toAbsolutePath().getParent();
      if (directory != null) {
        Files.createDirectories(directory, Modes.with(0750));
      }
      create(file);
    } catch (IOException e) {
      throw new CommandException(
              ExitCode.NO_PERMISSION,
              "cannot write the log: %s: %s".formatted(file, CommandException.reason(e)),
              "name a file that can be written with --log-file")
          .causedBy(e);
    }
    LoggerContext context = (LoggerContext) LoggerFactory.getILoggerFactory();
    FileAppender appender = new FileAppender();
    appender.setName("file");
    appender.setFile(file.toString());
    FixedWindowRollingPolicy names = new FixedWindowRollingPolicy();
    names.setContext(context);
    names.setParent(appender);
    names.setFileNamePattern(file + ".%i");
    names.setMinIndex(1);
    names.setMaxIndex(OLD_FILES);
    names.start();
    SizeBasedTriggeringPolicy<ILoggingEvent> trigger = new SizeBasedTriggeringPolicy<>();
    trigger.setContext(context);
    trigger.setMaxFileSize(FileSize.valueOf(MAX_SIZE));
    trigger.start();
    appender.setRollingPolicy(names);
    appender.setTriggeringPolicy(trigger);
    start(context, appender, FILE_PATTERN);
    context.getLogger(Logger.ROOT_LOGGER_NAME).setLevel(Level.convertAnSLF4JLevel(level));
  }

  private static void start(
      LoggerContext context, OutputStreamAppender<ILoggingEvent> appender, String pattern) {
    PatternLayoutEncoder encoder = new PatternLayoutEncoder();
    encoder.setContext(context);
    encoder.setPattern(pattern);
    encoder.start();
    appender.setContext(context);
    appender.setEncoder(encoder);
    appender.start();
    context.getLogger(Logger.ROOT_LOGGER_NAME).addAppender(appender);
  }

  private static void create(Path file) throws IOException {
    try {
      Files.createFile(file, Modes.with(0640));
    } catch (FileAlreadyExistsException e) {
      // appended to
    }
  }

  /** Creates each file with its mode itself: the umask of a FUSE daemon is 0. */
  private static final class FileAppender extends RollingFileAppender<ILoggingEvent> {
    @Override
    public void openFile(String name) throws IOException {
      create(Path.of(name));
      super.openFile(name);
    }
  }
}
