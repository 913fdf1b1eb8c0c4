# For the scripts beside it: a program from PyPI in a virtual environment of Python in the user's cache, with the
# versions and hashes in a requirements file. Leaves nothing in the source tree.

skip() {
  echo "$*" >&2
  exit 77
}

# make_venv NAME REQUIREMENTS FINISH: sets venv and log; FINISH makes a new environment NEW ready or skips.
# Ends with 77 and the reason if it cannot be had.
make_venv() {
  local name=$1 pinned=$2 finish=$3 cache=${XDG_CACHE_HOME:-$HOME/.cache}/pgveil new
  venv=$cache/${name,,}-$(cksum <"$pinned" | cut -d' ' -f1)
  log=$cache/${name,,}.log
  mkdir -p "$cache"
  exec 9>"$cache/${name,,}.lock"
  flock 9
  [ ! -d "$venv" ] || return 0
  new=$venv.new
  rm -rf "$new"
  python3 -m venv "$new" >"$log" 2>&1 ||
    skip "$name is not installed: no virtual environment of Python (Debian: apt-get install python3-venv), see $log"
  "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: --requirement "$pinned" >>"$log" 2>&1 ||
    skip "$name is not installed: a wheel cannot be fetched or has another hash, see $log"
  "$finish" "$new"
  mv "$new" "$venv"
}
