package io.pgveil.tests.command;

import java.util.HexFormat;

/** A process that has keys in its memory and shows them to everybody: what must be found. */
final class Leak {
  private Leak() {}

  /** Takes keys in hexadecimal, prints {@code ready}, and waits to be killed. */
  public static void main(String[] keys) throws InterruptedException {
    byte[][] inMemory = new byte[keys.length][];
    for (int i = 0; i < keys.length; i++) {
      inMemory[i] = HexFormat.of().parseHex(keys[i]);
    }
    System.out.println("ready");
    while (inMemory.length > 0) {
      Thread.sleep(Long.MAX_VALUE);
    }
  }
}
