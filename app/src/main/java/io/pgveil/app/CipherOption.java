package io.pgveil.app;

import picocli.CommandLine.Option;

/** Length of the keys of a new cluster. */
final class CipherOption {
  /** Names as in pg_tde. */
  enum Cipher {
    aes_128,
    aes_256
  }

  @Option(
      names = "--cipher",
      defaultValue = "aes_128",
      paramLabel = "NAME",
      description = "For a new cluster: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
  Cipher cipher;

  int keyBits() {
    return cipher == Cipher.aes_128 ? 128 : 256;
  }
}
