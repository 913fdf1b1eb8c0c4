package io.pgveil.app;

/** Stands in until the commands come. */
public final class Main {
  private Main() {}

  public static void main(String[] args) {
    new picocli.CommandLine(new Root()).execute(args);
  }

  @picocli.CommandLine.Command(
      name = "pgveil",
      version = "pgveil 0.1.0",
      mixinStandardHelpOptions = true)
  static final class Root implements Runnable {
    @Override
    public void run() {
      System.out.println(System.getProperty("user.dir"));
    }
  }
}
