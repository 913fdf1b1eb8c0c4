package io.pgveil.providers.kmip;

import java.io.IOException;

/** A message that is none of KMIP. Its text quotes no value of it. */
final class MalformedException extends IOException {
  private static final long serialVersionUID = 1L;

  MalformedException(String reason) {
    super(reason);
  }
}
