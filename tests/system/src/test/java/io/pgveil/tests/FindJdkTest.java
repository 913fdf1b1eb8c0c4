package io.pgveil.tests;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code .mvn/find-jdk.sh}, the search that {@code ./mvnw} and {@code ./pgveil} share. */
class FindJdkTest {
  private static final Path SCRIPT = Project.root().resolve(".mvn/find-jdk.sh");

  /** Higher than any real JDK, so that what this machine has installed cannot be found instead. */
  private static final String MIN = "900";

  @TempDir Path dir;

  @Test
  void javaHomeWinsIfItIsNewEnough() throws Exception {
    Path home = jdk("home", "903.0.1");
    Path path = jdk("path", "900");

    assertThat(find(Map.of("JAVA_HOME", home.toString()), path)).isEqualTo(home.toString());
  }

  @Test
  void anOlderJavaHidesNoNewerOne() throws Exception {
    Path home = jdk("home", "17.0.15");
    Path old = jdk("old", "1.8.0_392");
    Path path = jdk("path", "900.0.3");

    assertThat(find(Map.of("JAVA_HOME", home.toString()), old, path)).isEqualTo(path.toString());
  }

  @Test
  void aLinkOnThePathLeadsToItsJdk() throws Exception {
    Path jdk = jdk("a jdk", "901-ea");
    Path bin = Files.createDirectories(dir.resolve("usr/bin"));
    Files.createSymbolicLink(bin.resolve("java"), jdk.resolve("bin/java"));

    assertThat(find(Map.of(), bin.getParent())).isEqualTo(jdk.toString());
  }

  @Test
  void theLowestOfTheUsualPlacesIsTaken() throws Exception {
    jdk("home/.jdks/newest", "902");
    Path lowest = jdk("home/.sdkman/candidates/java/lowest", "900.0.1");
    jdk("home/.sdkman/candidates/java/too-old", "899.9.9");

    assertThat(find(Map.of())).isEqualTo(lowest.toString());
  }

  @Test
  void aRuntimeWithoutCompilerIsNoJdk() throws Exception {
    Path jre = jdk("jre", "900");
    Files.delete(jre.resolve("bin/javac"));
    Path unlabelled = jdk("unlabelled", "900");
    Files.delete(unlabelled.resolve("release"));

    assertThat(find(Map.of(), jre, unlabelled)).isEmpty();
  }

  @Test
  void withoutAJdkItSaysHowToGetOne() throws Exception {
    Process process = start(Map.of("JAVA_HOME", "/nowhere"));

    assertThat(new String(process.getErrorStream().readAllBytes(), UTF_8))
        .contains("no JDK 900 or newer", "JAVA_HOME (/nowhere)", "apt-get install openjdk-900-jdk")
        .contains("dnf install java-900-openjdk-devel");
    assertThat(process.waitFor()).isEqualTo(10);
  }

  private Path jdk(String name, String version) throws IOException {
    Path jdk = dir.resolve(name);
    Files.createDirectories(jdk.resolve("bin"));
    for (String tool : List.of("java", "javac")) {
      Path file = Files.writeString(jdk.resolve("bin").resolve(tool), "#!/bin/sh\nexit 1\n");
      assertThat(file.toFile().setExecutable(true)).isTrue();
    }
    Files.writeString(
        jdk.resolve("release"), "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"%s\"\n".formatted(version));
    return jdk;
  }

  /** The JDK that the script finds, empty if it finds none. */
  private String find(Map<String, String> environment, Path... onPath) throws Exception {
    Process process = start(environment, onPath);
    String found = new String(process.getInputStream().readAllBytes(), UTF_8).strip();
    assertThat(process.waitFor()).isEqualTo(found.isEmpty() ? 10 : 0);
    return found;
  }

  private Process start(Map<String, String> environment, Path... onPath) throws IOException {
    String script = ". \"$1\"; find_jdk \"$2\"; printenv JAVA_HOME";
    ProcessBuilder builder =
        new ProcessBuilder("/bin/sh", "-euc", script, "sh", SCRIPT.toString(), MIN);
    builder.environment().clear();
    builder.environment().putAll(environment);
    builder.environment().put("HOME", dir.resolve("home").toString());
    builder
        .environment()
        .put(
            "PATH",
            Arrays.stream(onPath).map(p -> p + "/bin:").collect(Collectors.joining())
                + "/usr/bin:/bin");
    return builder.start();
  }
}
