# SPDX-License-Identifier: GPL-2.0-only
# Shell functions that the scripts beside it share: messages, timing, the cache, the Rust toolchain.
# Sourced by bash, after `set -eu`; defines functions and settles HOME and KPATCH_CACHE.
# shellcheck shell=bash

# A failure inside $(...) or a pipe is a failure.
set -o pipefail
shopt -s inherit_errexit
# No end without a word, whatever failed.
set -E
trap '[ "$BASH_SUBSHELL" -gt 0 ] || echo "error: $0: \`$BASH_COMMAND\` failed" >&2' ERR

# The oldest compiler that builds the workspace (rust-version in Cargo.toml).
RUST_MINIMUM=1.85

# apt's words are read below, and they are translated.
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Milliseconds since the epoch. EPOCHREALTIME's fraction follows the locale's decimal sign.
now_ms() {
  local t=${EPOCHREALTIME//[!0-9]/}
  printf '%s' "${t%???}"
}

# as_seconds MILLISECONDS: "12.3 s"
as_seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# step TITLE COMMAND...: says what is done, does it, says how long it took. The command runs in
# this shell, in no condition, so that `set -e` holds inside it.
step() {
  local title=$1 start
  shift
  say "==> $title"
  start=$(now_ms)
  "$@"
  say "    done: $title ($(as_seconds $(($(now_ms) - start))))"
}

# su, cron and containers may leave HOME out; cargo and the cache both hang on it.
if [ -z "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  [ -n "$HOME" ] || die "HOME is not set and user $(id -u) has no home directory"
  export HOME
fi

# One absolute cache directory for every tool that these scripts start.
KPATCH_CACHE=${KPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kpatch}
case $KPATCH_CACHE in
  /*) ;;
  *) KPATCH_CACHE=$PWD/$KPATCH_CACHE ;;
esac
case $KPATCH_CACHE in
  *[[:space:]:\'\"\\\$\#%]*)
    die "\`$KPATCH_CACHE\`: the kernel's make takes no spaces and none of :'\"\\\$#% in paths:" \
      "set KPATCH_CACHE to another directory"
    ;;
esac
export KPATCH_CACHE

# listing DIR NAME...: one line per file below DIR/NAME, enough to see that one is gone, cut off or edited.
listing() {
  (cd "$1" && shift &&
    find "$@" -type d -printf '%p\n' -o -type f -printf '%p %s %T@\n' -o -printf '%p %l\n' | sort)
}

# assignment KEY VALUE: a line for a shell, quoted only when it must be. No value has a quote in
# it: no such cache is accepted above.
assignment() {
  case $2 in
    *[!A-Za-z0-9_./+~@,=-]*) printf "%s='%s'\n" "$1" "$2" ;;
    *) printf '%s=%s\n' "$1" "$2" ;;
  esac
}

# usage: prints the comment at the top of the running script, as its --help.
usage() { sed -n '3,/^[^#]/{ s/^# \{0,1\}//p }' "$0"; }

# usage_error MESSAGE: exit code 2, as in the tools.
usage_error() {
  printf 'error: %s; see --help\n' "$*" >&2
  exit 2
}

# as_root COMMAND...: runs it as root, through sudo where we are not.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "must be run as root, and there is no sudo here: $*"
  fi
}

# apt must not ask; what packages' scripts make on the system is for all to read, whatever the
# caller's umask; its hundreds of lines are shown when it fails.
apt_as_root() {
  local log
  log=$(mktemp)
  if (umask 022 && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@") >"$log" 2>&1 </dev/null; then
    rm -f "$log"
  else
    cat "$log" >&2
    rm -f "$log"
    die "\`apt-get $*\` failed: see above"
  fi
}

# version_at_least VERSION MINIMUM, both dotted numbers.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# rust_version TOOL: the version that `TOOL --version` tells ("rustc 1.85.0 (...)"), or nothing. A
# rustup proxy without a default toolchain exists and fails: as good as absent.
rust_version() {
  "$1" --version 2>/dev/null | sed -n 's/^[a-z-]* \([0-9][0-9.]*\).*/\1/p' || true
}

# Whether TOOL exists, runs and is at least RUST_MINIMUM.
new_enough() {
  local version
  [ -x "$1" ] || return 1
  version=$(rust_version "$1")
  [ -n "$version" ] && version_at_least "$version" "$RUST_MINIMUM"
}

# Directories that may hold cargo and rustc, first choice first. sudo drops ~/.cargo/bin from PATH;
# Debian's tools may lie behind an older rustup.
rust_dirs() {
  local found
  if found=$(command -v cargo); then
    dirname "$found"
  fi
  printf '%s\n' "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin
}

# find_cargo: prints the directory of the first cargo and rustc that are both new enough; 1 if none.
find_cargo() {
  local dir
  while IFS= read -r dir; do
    if new_enough "$dir/cargo" && new_enough "$dir/rustc"; then
      printf '%s\n' "$dir"
      return 0
    fi
  done < <(rust_dirs)
  return 1
}

# find_core: prints the first rustc that is new enough and has the sources of its own `core`; 1 if
# none. Debian's rustc finds them through a symlink in the same place as rustup's. KPATCH_RUSTC is
# the one to use, whatever else there is, as it is when modules are built.
find_core() {
  local rustc sysroot
  while IFS= read -r rustc; do
    new_enough "$rustc" || continue
    sysroot=$("$rustc" --print sysroot) || continue
    if [ -f "$sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ]; then
      printf '%s\n' "$rustc"
      return 0
    fi
  done < <(
    if [ -n "${KPATCH_RUSTC:-}" ]; then
      printf '%s\n' "$KPATCH_RUSTC"
    else
      rust_dirs | sed 's,$,/rustc,'
      compgen -G "${RUSTUP_HOME:-$HOME/.rustup}/toolchains/*/bin/rustc" || true
    fi
  )
  return 1
}

# use_cargo: puts the chosen cargo first on PATH, so that it also finds the rustc beside it.
use_cargo() {
  local dir
  dir=$(find_cargo) || die "no cargo and rustc >= $RUST_MINIMUM: run scripts/setup.sh"
  PATH=$dir:$PATH
  export PATH
}
