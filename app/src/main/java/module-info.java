/** Commands, the daemon and embedded PostgreSQL. */
module io.pgveil.app {
  requires static org.jspecify;
  requires io.pgveil.linux;
  requires io.pgveil.ciphers;
  requires io.pgveil.keys;
  requires io.pgveil.fuse;
  requires io.pgveil.datadir;
  requires micrometer.core;
  requires micrometer.registry.prometheus;
  requires info.picocli;
  requires com.fasterxml.jackson.databind;
  requires org.slf4j;
  requires ch.qos.logback.classic;
  requires ch.qos.logback.core;
  requires org.apache.commons.compress;
  requires org.tukaani.xz;
  requires java.sql;
  requires org.postgresql.jdbc;
  requires jdk.net;

  opens io.pgveil.app to
      info.picocli,
      com.fasterxml.jackson.databind;
  opens io.pgveil.app.cluster to
      com.fasterxml.jackson.databind;
  opens io.pgveil.app.control to
      com.fasterxml.jackson.databind;
  opens io.pgveil.app.error to
      com.fasterxml.jackson.databind;

  provides ch.qos.logback.classic.spi.Configurator with
      io.pgveil.app.daemon.DaemonLog;
}
