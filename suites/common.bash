# What the suites share: a working directory, a mounted cluster, and an end that leaves nothing behind.
# To be sourced. All of it needs root: mounts, and PostgreSQL as a user of its own.
#
# Exit codes: 0 all as documented, 1 a difference, 2 usage, 77 something that the suite needs cannot be had.

set -euo pipefail

suites=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=$(basename "$0")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pgveil
pgveil=${PGVEIL:-$suites/../pgveil}
server_user=postgres

say() {
  printf '%s: %s\n' "$suite" "$*"
}

# The remedy belongs to the message.
skip() {
  say "skipped: $*" >&2
  exit 77
}

fail() {
  say "FAILED: $*" >&2
  grep -E 'WARN|ERROR' "$work/pgveil.log" 2>/dev/null | tail -n 20 >&2
  exit 1
}

# value ARGUMENT...: something must follow an option.
value() {
  [ $# -gt 1 ] || usage "$1 needs a value"
}

usage() {
  say "$* (see --help)" >&2
  exit 2
}

# The comment at the head of a script is its help.
help() {
  sed -n -e '1d' -e '/^[^#]/q' -e '/^$/q' -e 's/^# \{0,1\}//p' "$0"
}

# Default: the newest PostgreSQL of the system that has all its programs.
find_postgres() {
  if [ -z "${pg_bindir:-}" ]; then
    local found=()
    mapfile -t found < <(compgen -G '/usr/lib/postgresql/*/bin/pg_amcheck' | sort -V)
    [ ${#found[@]} -gt 0 ] || skip 'no PostgreSQL in /usr/lib/postgresql (Debian: apt-get install postgresql)'
    pg_bindir=$(dirname "${found[-1]}")
  fi
  [ -x "$pg_bindir/postgres" ] || usage "no PostgreSQL in $pg_bindir"
  pg_version=$("$pg_bindir/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')
}

# --- an end that leaves nothing behind ---

work=
daemon=
postmaster=
group=

# Sets up the working directory and its removal, whatever happens.
begin() {
  [ "$(id -u)" = 0 ] || skip 'needs root, for mounts and for PostgreSQL as a user of its own'
  [ -w /dev/fuse ] || skip '/dev/fuse is missing or not writable'
  id -u "$server_user" >/dev/null 2>&1 || skip "no user $server_user (Debian: apt-get install postgresql-common)"
  exec </dev/null
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  work=$(mktemp -d "${TMPDIR:-/tmp}/pgveil.XXXXXX") # short: sockets have their paths in it
  chmod 755 "$work" # the server's user has its files in it
  sockets=$work/sockets
  install -d -o "$server_user" "$sockets"
  # An array, not a function: in the background it is the program itself that gets signals.
  as_server=(setpriv --reuid "$server_user" --regid "$server_user" --init-groups --
    env -C "$work" HOME=/ PGHOST="$sockets" PGPORT=5432 PGUSER=postgres)
}

finish() {
  local status=$?
  trap '' HUP INT TERM
  trap - EXIT
  set +e
  [ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null
  [ -z "$postmaster" ] || end QUIT "$postmaster"
  [ -z "$daemon" ] || end TERM "$daemon"
  if [ -n "$work" ]; then
    awk -v w="$work/" 'index($2, w) == 1 { print $2 }' /proc/self/mounts | sort -r | while IFS= read -r point; do
      umount -l "$point"
    done
    rm -rf --one-file-system "$work"
  fi
  exit "$status"
}

# end SIGNAL PID: asks a child to end and waits; kills it if it does not within a minute.
end() {
  local tries=600
  kill "-$1" "$2" 2>/dev/null
  while kill -0 "$2" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do
    sleep 0.1
  done
  kill -KILL "$2" 2>/dev/null
  wait "$2" 2>/dev/null
}

# Runs what may take long in a process group of its own, so that the traps work meanwhile and can end
# all of it.
attended() {
  local status=0
  set -m
  "$@" &
  group=$!
  set +m
  wait "$group" || status=$?
  group=
  return "$status"
}

# --- a cluster ---

# A cipher directory and its mount: $cipher, $mount.
make_mount() {
  cipher=$work/cipher mount=$work/mount
  mkdir -m 700 "$work/keyring"
  mkdir "$mount"
  "$pgveil" init "$cipher" --keyring "$work/keyring/keyring.file" --owner "$server_user" >/dev/null ||
    fail 'pgveil init'
  serve
}

serve() {
  local tries=600
  "$pgveil" mount "$cipher" "$mount" --log-file "$work/pgveil.log" >"$work/pgveil.out" 2>&1 &
  daemon=$!
  until mountpoint -q "$mount"; do
    kill -0 "$daemon" 2>/dev/null && [ $((tries -= 1)) -gt 0 ] || fail "no mount: $(cat "$work/pgveil.out")"
    sleep 0.1
  done
}

unserve() {
  "$pgveil" umount "$mount" >/dev/null || fail 'pgveil umount'
  wait "$daemon" || fail "the daemon ended with code $?"
  daemon=
}

# make_cluster DIRECTORY
make_cluster() {
  "${as_server[@]}" "$pg_bindir/initdb" -D "$1" -U postgres -A trust --data-checksums --no-locale -E UTF8 \
    >"$work/initdb.log" 2>&1 || fail "initdb on $1: $(tail -n 5 "$work/initdb.log")"
}

# make_data: a cluster on the mount with something in it, stopped; sets $database to the OID of its database.
make_data() {
  make_cluster "$mount"
  start_server "$mount"
  "${as_server[@]}" "$pg_bindir/pgbench" -i -q -s 5 postgres >"$work/pgbench.log" 2>&1 || fail 'pgbench -i'
  database=$("${as_server[@]}" "$pg_bindir/psql" -XAtc \
    'SELECT oid FROM pg_database WHERE datname = current_database()')
  stop_server
}

# start_server DIRECTORY [OPTION...]: a server on a Unix socket in $sockets.
start_server() {
  local data=$1 tries=600
  shift
  "${as_server[@]}" "$pg_bindir/postgres" -D "$data" -c listen_addresses= -c "unix_socket_directories=$sockets" "$@" \
    >>"$work/server.log" 2>&1 &
  postmaster=$!
  until "${as_server[@]}" "$pg_bindir/pg_isready" -q; do
    kill -0 "$postmaster" 2>/dev/null && [ $((tries -= 1)) -gt 0 ] ||
      fail "no server: $(tail -n 20 "$work/server.log")"
    sleep 0.1
  done
}

stop_server() {
  kill -INT "$postmaster"
  wait "$postmaster" || fail "the server ended with code $?: $(tail -n 20 "$work/server.log")"
  postmaster=
}

# must TEXT PROGRAM...: runs a check; its output matters only if it fails.
must() {
  local text=$1
  shift
  attended "$@" >"$work/check.log" 2>&1 || fail "$text: $(tail -n 30 "$work/check.log")"
  say "$text: right"
}

# What stands after every long run: a server that is stopped, on the mount. Afterwards nothing runs.
check_cluster() {
  unserve
  serve # all is read from the disk, not from the kernel's page cache
  start_server "$mount"
  must 'pg_amcheck --heapallindexed' "${as_server[@]}" "$pg_bindir/pg_amcheck" --all --install-missing --heapallindexed
  install -d -o "$server_user" "$work/backups"
  must 'pg_basebackup' "${as_server[@]}" "$pg_bindir/pg_basebackup" -D "$work/backups/base" --checkpoint=fast
  must 'pg_verifybackup' "${as_server[@]}" "$pg_bindir/pg_verifybackup" "$work/backups/base"
  stop_server
  must 'pg_checksums --check' "${as_server[@]}" "$pg_bindir/pg_checksums" --check -D "$mount"
  unserve
  must 'pgveil verify' "$pgveil" verify "$cipher"
}

# --- programs of others ---

# crate NAME VERSION: builds a program from the crates' registry into the cache; sets $crate to it.
crate() {
  crate=$cache/crates/$1-$2/bin/$1
  [ ! -x "$crate" ] || return 0
  PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || skip "$1 is not in $cache, and there is no cargo to build it with"
  say "building $1 $2 (once)"
  attended build_crate "$1" "$2" >"$work/cargo.log" 2>&1 ||
    skip "cargo cannot install $1 $2: $(tail -n 3 "$work/cargo.log")"
  rm -rf "$work/cargo"
}

build_crate() {
  mkdir -p "$cache/crates"
  exec 9>"$cache/crates/lock"
  flock 9
  [ -x "$crate" ] || cargo install --quiet --locked --root "$cache/crates/$1-$2" --target-dir "$work/cargo" "$1@$2" 9>&-
}
