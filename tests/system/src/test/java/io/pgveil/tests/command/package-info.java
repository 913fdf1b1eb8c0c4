/** The command line as its users meet it: the launcher, refusals, secrets, sudden deaths. */
package io.pgveil.tests.command;
