/** Commands, the daemon and embedded PostgreSQL. */
module io.pgveil.app {
  requires static org.jspecify;
  requires io.pgveil.linux;
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
}
