package io.pgveil.tests;

import static com.tngtech.archunit.core.domain.JavaAccess.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.assignableTo;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.name;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static java.util.stream.Collectors.groupingBy;
import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.toMap;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchCondition;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaFileObject;
import javax.tools.ToolProvider;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The order of the house: what each module may know, as ARCHITECTURE.md draws it. */
class HouseTest {
  /** For each module the modules below it: the only ones whose classes it may import. */
  private static final Map<String, Set<String>> BELOW =
      new TreeMap<>(
          Map.of(
              "linux", Set.of(),
              "ciphers", Set.of("linux"),
              "keys", Set.of("linux"),
              "providers", Set.of("keys"),
              "fuse", Set.of("linux"),
              "datadir", Set.of("linux", "ciphers", "keys", "fuse"),
              "app", Set.of("linux", "ciphers", "keys", "providers", "fuse", "datadir"),
              "reader", Set.of()));

  private static final String MODULE_PATH = System.getProperty("java.class.path");

  private static final Map<String, ModuleDescriptor> MODULES =
      Arrays.stream(MODULE_PATH.split(File.pathSeparator))
          .map(Path::of)
          .filter(entry -> !entry.endsWith("test-classes"))
          .flatMap(entry -> ModuleFinder.of(entry).findAll().stream())
          .map(ModuleReference::descriptor)
          .filter(module -> module.name().startsWith("io.pgveil."))
          .collect(toMap(m -> m.name().substring("io.pgveil.".length()), m -> m));

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages(BELOW.keySet().stream().map(m -> "io.pgveil." + m).toList());

  @TempDir Path sources;

  @Test
  void everyModuleHasAFloor() {
    assertThat(MODULES.keySet()).isEqualTo(BELOW.keySet());
  }

  @Test
  void anImportAgainstTheArrowsDoesNotCompile() throws IOException {
    List<Import> forbidden = imports((from, to) -> !BELOW.get(from).contains(to));

    List<Diagnostic<? extends JavaFileObject>> errors = compile(forbidden);

    assertThat(errors).allMatch(e -> e.getCode().equals("compiler.err.package.not.visible"));
    assertThat(errors.stream().map(HouseTest::fileName))
        .containsExactlyInAnyOrderElementsOf(forbidden.stream().map(Import::fileName).toList());
  }

  @Test
  void anImportAlongTheArrowsCompiles() throws IOException {
    List<Import> declared =
        imports(
            (from, to) ->
                MODULES.get(from).requires().stream()
                    .anyMatch(requires -> requires.name().equals("io.pgveil." + to)));

    assertThat(declared).contains(new Import("datadir", "keys"), new Import("fuse", "linux"));
    assertThat(compile(declared)).isEmpty();
  }

  @Test
  void onlyLinuxNeedsNativeAccess() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.pgveil.linux..")
        .should()
        .dependOnClassesThat()
        .belongToAnyOf(Linker.class, SymbolLookup.class)
        .orShould()
        .callMethodWhere(
            target(owner(assignableTo(MemorySegment.class))).and(target(name("reinterpret"))))
        .check(CLASSES);
  }

  @Test
  void ciphersDoNoInputOrOutput() {
    noClasses()
        .that()
        .resideInAPackage("io.pgveil.ciphers..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("java.io..", "java.nio.file..", "java.nio.channels..", "java.net..")
        .check(CLASSES);
  }

  @Test
  void onlyProvidersAndTheAppTalkToANetwork() {
    noClasses()
        .that()
        .resideOutsideOfPackages("io.pgveil.app..", "io.pgveil.providers..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("java.net..", "javax.net..")
        .check(CLASSES);
  }

  @Test
  void onlyTheAppTalksToDatabaseAndTerminal() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.pgveil.app..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("java.sql..", "picocli..")
        .orShould()
        .accessTargetWhere(
            target(owner(assignableTo(System.class)))
                .and(target(name("out").or(name("err")).or(name("in")))))
        .check(CLASSES);
  }

  @Test
  void onlyTheAppEndsTheProcess() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.pgveil.app..")
        .should()
        .callMethod(System.class, "exit", int.class)
        .orShould()
        .callMethod(Runtime.class, "exit", int.class)
        .orShould()
        .callMethod(Runtime.class, "halt", int.class)
        .check(CLASSES);
  }

  /** Keys, initialisation vectors and ids come from SecureRandom. */
  @Test
  void nothingIsDrawnFromAPredictableGenerator() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .belongToAnyOf(Random.class, SplittableRandom.class, ThreadLocalRandom.class)
        .orShould()
        .callMethod(Math.class, "random")
        .check(CLASSES);
  }

  @Test
  void everyPackageIsNullMarked() {
    classes()
        .should(
            ArchCondition.from(
                DescribedPredicate.describe(
                    "reside in a @NullMarked package",
                    type -> type.getPackage().isAnnotatedWith(NullMarked.class))))
        .check(CLASSES);
  }

  private record Import(String from, String to) {
    String fileName() {
      return "From_%s_to_%s.java".formatted(from, to);
    }

    String source() {
      return "package io.pgveil.%s; import io.pgveil.%s.*; class From_%1$s_to_%2$s {}"
          .formatted(from, to);
    }
  }

  private interface Arrow {
    boolean connects(String from, String to);
  }

  private static List<Import> imports(Arrow arrow) {
    return BELOW.keySet().stream()
        .flatMap(
            from ->
                BELOW.keySet().stream()
                    .filter(to -> !to.equals(from) && arrow.connects(from, to))
                    .map(to -> new Import(from, to)))
        .toList();
  }

  /** Compiles the imports as further classes of the built modules and returns the errors. */
  private List<Diagnostic<? extends JavaFileObject>> compile(List<Import> imports)
      throws IOException {
    List<Diagnostic<? extends JavaFileObject>> errors = new ArrayList<>();
    // One module at a time: javac patches no more.
    for (var entry : imports.stream().collect(groupingBy(Import::from)).entrySet()) {
      Path patch = Files.createDirectory(sources.resolve(entry.getKey()));
      List<Path> files = new ArrayList<>();
      for (Import i : entry.getValue()) {
        files.add(Files.writeString(patch.resolve(i.fileName()), i.source()));
      }
      errors.addAll(
          compile(
              files,
              List.of(
                  "-proc:none",
                  "--module-path",
                  MODULE_PATH,
                  "--add-modules",
                  BELOW.keySet().stream().map(m -> "io.pgveil." + m).collect(joining(",")),
                  "--patch-module",
                  "io.pgveil.%s=%s".formatted(entry.getKey(), patch),
                  "-d",
                  Files.createDirectory(patch.resolve("out")).toString())));
    }
    return errors;
  }

  private static List<Diagnostic<? extends JavaFileObject>> compile(
      List<Path> files, List<String> options) throws IOException {
    var compiler = ToolProvider.getSystemJavaCompiler();
    var diagnostics = new DiagnosticCollector<JavaFileObject>();
    try (var manager = compiler.getStandardFileManager(diagnostics, Locale.ROOT, null)) {
      var units = manager.getJavaFileObjectsFromPaths(files);
      compiler.getTask(null, manager, diagnostics, options, null, units).call();
    }
    return diagnostics.getDiagnostics().stream()
        .filter(diagnostic -> diagnostic.getKind() == Diagnostic.Kind.ERROR)
        .toList();
  }

  private static String fileName(Diagnostic<? extends JavaFileObject> diagnostic) {
    return Path.of(diagnostic.getSource().getName()).getFileName().toString();
  }
}
