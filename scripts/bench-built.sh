#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# How long kpatch-build takes for patches to a kernel that was built here (plain-6.12), held against gcc
# alone: the very same compilations, run once more right behind each run. Works in a cache of its own, which
# is removed afterwards.
#
# usage: scripts/bench-built.sh [--runs N] [NAME...]     (3 runs; all of these)
#
#   line    one line of one file
#   header  an inline function that 19 files use
#   forty   one line in each of 40 files
#
# Once, first: nothing in the cache, so that Rust's core is compiled. For each, cold (nothing but that in the
# cache: the kernel is not known) and warm (medians). A busy machine spoils seconds, but hardly the time of
# processors, nor what either is as a multiple of gcc's: all of these are shown.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

runs=3
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --runs)
      runs=${2:-}
      [[ $runs =~ ^[1-9][0-9]*$ ]] || usage_error "--runs takes a number"
      shift 2
      ;;
    line | header | forty) break ;;
    *) usage_error "unknown argument \`$1\`" ;;
  esac
done
[ $# -gt 0 ] || set -- line header forty

# patch_of NAME: writes the patch to $scratch/NAME.patch.
patch_of() {
  local file
  case $1 in
    line) cp "$here/../examples/cmdline.patch" "$scratch/line.patch" ;;
    header) cp "$here/bench/netlink-header.patch" "$scratch/header.patch" ;;
    forty)
      while IFS= read -r file; do
        # diff says with 1 that there is a difference.
        awk '!done && /^[ \t]*return -EINVAL;$/ { sub(/EINVAL/, "EDOM"); done = 1 } { print }' \
          "$SOURCE/$file" |
          diff -u --label "a/$file" --label "b/$file" "$SOURCE/$file" - || [ $? = 1 ]
      done <"$here/bench/forty-files" >"$scratch/forty.patch"
      ;;
    *) usage_error "no patch \`$1\`" ;;
  esac
}

# timed OUT COMMAND...: seconds of the wall and of processors, one behind the other, into OUT.
timed() {
  local out=$1 TIMEFORMAT='%R %U %S' status=0
  shift
  { time "$@" >"$scratch/said" 2>&1 || status=$?; } 2>"$scratch/time"
  awk '{ print $1, $2 + $3 }' "$scratch/time" >"$out"
  return $status
}

# gcc_alone: what the run has compiled, once more, by as many processes at once.
gcc_alone() {
  sed -n -e '/^\$ .* -c -o /!d' -e 's/^\$ //' -e 's# -c -o [^ ]*# -c -o /dev/null#' \
    -e 's#-Wp,-MMD,[^ ]*#-Wp,-MMD,/dev/null#' -e p "$scratch/work/log" |
    xargs -d '\n' -n 1 -P "$(nproc)" sh -c
}

# one_run NAME KIND NUMBER
one_run() {
  local result=$scratch/$1.$2.$3
  rm -rf "$scratch/work" "$scratch/out"
  timed "$result.tool" "$tool" -v -s "$SOURCE" --cache "$scratch/cache" --work-dir "$scratch/work" \
    -o "$scratch/out" "$scratch/$1.patch" || {
    cat "$scratch/said" >&2
    die "\`$1\` could not be built"
  }
  sed -n 's/^\(.*\) … \([0-9.]*\) s$/\1\t\2/p' "$scratch/said" >"$result.phases"
  timed "$result.gcc" gcc_alone || {
    cat "$scratch/said" >&2
    die "the compilations of \`$1\` cannot be run again"
  }
  grep -c ' -c -o ' "$scratch/work/log" >"$result.count"
}

# median FILE... of each column.
median() {
  cat "$@" | awk '
    { for (i = 1; i <= NF; i++) value[i, NR] = $i; columns = NF }
    END {
      for (i = 1; i <= columns; i++) {
        for (j = 2; j <= NR; j++)
          for (k = j; k > 1 && value[i, k] < value[i, k - 1]; k--) {
            t = value[i, k]; value[i, k] = value[i, k - 1]; value[i, k - 1] = t
          }
        printf "%s%s", value[i, int((NR + 1) / 2)], i < columns ? " " : "\n"
      }
    }'
}

# row NAME KIND: one line, and what is not gcc.
row() {
  local of=$scratch/$1.$2
  # shellcheck disable=SC2046 # numbers
  set -- "$1" "$2" $(median "$of".*.tool) $(median "$of".*.gcc) "$(cat "$of.1.count")"
  awk -v name="$1" -v kind="$2" -v wall="$3" -v cpu="$4" -v gcc="$5" -v gcc_cpu="$6" -v n="$7" 'BEGIN {
    printf "    %-8s%-6s%6d%10.2f%10.2f%8.1f%10.2f%10.2f%8.1f\n", name, kind, n, wall, gcc, wall / gcc,
      cpu, gcc_cpu, cpu / gcc_cpu
  }'
  awk -F'\t' '$1 !~ /^compile/ && $2 >= 0.05 { printf "%s%s %.2f", said++ ? ", " : "        above gcc: ", $1, $2 }
    END { if (said) print "" }' "$of.1.phases"
}

cd "$here/.."
"$here/build-kernel.sh" plain-6.12
# shellcheck disable=SC1091 # written by build-kernel.sh
. "$KPATCH_CACHE/kernels/plain-6.12/kernel.env"
use_cargo
cargo build --release --locked --quiet -p kpatch-build
target=$(cargo metadata --format-version 1 --no-deps --locked |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
tool=$target/release/kpatch-build

scratch=$(mktemp -d -p "$KPATCH_CACHE" bench.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
say "$RELEASE, $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $runs runs each"
printf '    %-14s%6s%28s%28s\n' '' '' 'seconds' 'of processors'
printf '    %-8s%-6s%6s%10s%10s%8s%10s%10s%8s\n' patch '' gccs whole gcc times whole gcc times
for name in "$@"; do
  patch_of "$name"
  if [ ! -d "$scratch/cache" ]; then
    one_run "$name" first 1
    row "$name" first
  fi
  for ((i = 1; i <= runs; i++)); do
    find "$scratch/cache" -mindepth 1 -maxdepth 1 ! -name rust-core -exec rm -rf {} +
    one_run "$name" cold "$i"
  done
  for ((i = 1; i <= runs; i++)); do one_run "$name" warm "$i"; done
  row "$name" cold
  row "$name" warm
done
