# Finds a JDK for ./mvnw and ./pgveil, whatever "java" means on this machine. POSIX sh, to be sourced.

# jdk_read_version DIR: sets jdk_version to the feature release (25) of the JDK in DIR, 0 if there is
# none. Reads the file "release" that every JDK carries instead of starting each java that is found.
jdk_read_version() {
  jdk_version=0
  [ -x "$1/bin/java" ] && [ -x "$1/bin/javac" ] && [ -r "$1/release" ] || return 0
  while IFS= read -r jdk_line || [ -n "$jdk_line" ]; do
    case $jdk_line in
      JAVA_VERSION=\"[0-9]*)
        jdk_line=${jdk_line#*\"}
        jdk_version=${jdk_line%%[!0-9]*}
        return 0
        ;;
    esac
  done <"$1/release"
}

# jdk_lowest MIN DIR...: sets jdk_home to the DIR with the lowest version that is at least MIN, the
# first of equals: the build has been tried with MIN, not with whatever is newest. Fails if there is
# none.
jdk_lowest() {
  jdk_home="" jdk_best="" jdk_min=$1
  shift
  for jdk_dir; do
    jdk_read_version "$jdk_dir"
    if [ "$jdk_version" -ge "$jdk_min" ] && [ "$jdk_version" -lt "${jdk_best:-1000000}" ]; then
      jdk_home=$jdk_dir jdk_best=$jdk_version
    fi
  done
  [ -n "$jdk_home" ]
}

# jdk_on_path MIN: sets jdk_home to the JDK of the first java on PATH that is at least MIN. An older
# java that comes first does not hide it.
jdk_on_path() {
  jdk_rest=$PATH:
  while [ -n "$jdk_rest" ]; do
    jdk_dir=${jdk_rest%%:*} jdk_rest=${jdk_rest#*:}
    [ -x "$jdk_dir/java" ] || continue
    jdk_dir=$(readlink -f -- "$jdk_dir/java") || continue
    if jdk_lowest "$1" "${jdk_dir%/bin/java}"; then return 0; fi
  done
  return 1
}

# find_jdk MIN: exports JAVA_HOME, a JDK of version MIN or newer: JAVA_HOME as it is, else one on PATH,
# else the lowest of the usual places. Says how to get one and exits with code 10 if there is none.
find_jdk() {
  if jdk_lowest "$1" "${JAVA_HOME:-}" || jdk_on_path "$1" ||
    jdk_lowest "$1" /usr/lib/jvm/* /usr/java/* /opt/* /opt/*/* \
      "${SDKMAN_DIR:-${HOME:-}/.sdkman}"/candidates/java/* "${HOME:-}"/.jdks/*; then
    JAVA_HOME=$jdk_home
    export JAVA_HOME
    return 0
  fi
  cat >&2 <<END
pgveil: no JDK $1 or newer was found in JAVA_HOME (${JAVA_HOME:-not set}), on PATH, in /usr/lib/jvm, /usr/java, /opt,
  ~/.sdkman/candidates/java or ~/.jdks
remedy: install a JDK (a JRE without javac is not enough), for instance
  Debian, Ubuntu   apt-get install openjdk-$1-jdk-headless
                   (where the release is too old for it: temurin-$1-jdk from Eclipse Adoptium's package repository)
  Fedora, RHEL     dnf install java-$1-openjdk-devel
  SUSE             zypper install java-$1-openjdk-devel
  any Linux        unpack a JDK archive into ~/.jdks, or anywhere and set JAVA_HOME to it
END
  exit 10
}
