#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# How long kpatch-build takes for one-line patches, by phase, and what of it is not the compiler's own
# time. Works in a cache of its own, which is removed afterwards.
#
# usage: scripts/bench.sh [--runs N] [PATCH...]      (7 runs; a small and a large translation unit)
#
#   cold      nothing in the cache: source tree linked, kernel prepared, Rust's core compiled
#   new file  prepared kernel, but the patched file was never compiled (median)
#   warm      the unpatched side of the file is known, as when a patch is worked on (median)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

runs=7
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
    -*) usage_error "unknown argument \`$1\`" ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || set -- "$here/../examples/cmdline.patch" "$here/bench/tcp-input.patch"

# one_run KIND PATCH NUMBER: runs the tool; its phases and the whole process's time, one "name<tab>seconds"
# line each, in the file $scratch/KIND.NUMBER.
one_run() {
  local kind=$1 patch=$2 result=$scratch/$1.$3 start
  rm -rf "$scratch/work" "$scratch/out"
  start=$(now_ms)
  "$tool" -v -s "$SOURCE" -k "$RELEASE" --headers "$HEADERS" --image "$IMAGE" --modules "$MODULES" \
    --cache "$scratch/cache" --work-dir "$scratch/work" -o "$scratch/out" "$patch" \
    >"$scratch/said" 2>&1 || {
    cat "$scratch/said" >&2
    die "\`$patch\` could not be built"
  }
  printf 'whole process\t%d\n' $(($(now_ms) - start)) | awk -F'\t' '{ print $1 "\t" $2 / 1000 }' >"$result"
  sed -n -e 's/^\(.*\) … \([0-9.]*\) s$/\1\t\2/p' \
    -e 's/^  compilers: \([0-9.]*\) s$/gcc\t\1/p' "$scratch/said" >>"$result"
  awk -F'\t' '$1 != "gcc" { left += $1 == "whole process" ? $2 : -$2 } END { print "rest\t" left }' \
    "$result" >"$scratch/rest"
  cat "$scratch/rest" >>"$result"
  # What the link asks of others: the log has each command and how long it took.
  awk '/^\$ / { what = / M=[^ ]* .* modules$/ ? "kbuild" : /(^| |\/)rustc / ? "rustc" : "" }
    /^= .* after [0-9.]+ s$/ && what { sum[what] += $(NF - 1) }
    END { for (what in sum) print "of which " what "\t" sum[what] }' "$scratch/work/log" >>"$result"
}

# table: from the results of all runs of one patch.
table() {
  local kinds=(cold new warm) kind
  for kind in "${kinds[@]}"; do
    local file
    for file in "$scratch/$kind".*; do sed "s/^/$kind\t/" "$file"; done
  done | awk -F'\t' '
    function median(kind, name, n, i, j, v, t) {
      n = count[kind, name]
      if (!n) return -1
      for (i = 1; i <= n; i++) v[i] = value[kind, name, i]
      for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
      return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    function row(name, show) {
      printf "    %-42s", show
      for (k = 1; k <= 3; k++) {
        t = median(kinds[k], name)
        if (t < 0) printf "%10s", "-"; else printf "%10.2f", t
      }
      printf "\n"
    }
    BEGIN { split("cold new warm", kinds, " ") }
    {
      if (!($2 in seen)) { seen[$2] = 1; order[++names] = $2 }
      value[$1, $2, ++count[$1, $2]] = $3
    }
    END {
      printf "    %-42s%10s%10s%10s\n", "seconds", "cold", "new file", "warm"
      for (i = 1; i <= names; i++) {
        name = order[i]
        if (name == "gcc" || name == "whole process" || name == "rest" || name ~ /^of which/) continue
        row(name, name)
        if (name == "compile both sides") row("gcc", "  gcc, summed over the sides")
        if (name == "link the module") {
          row("of which kbuild", "  kbuild (make, gcc, objtool, modpost, ld)")
          row("of which rustc", "  rustc")
        }
      }
      row("rest", "rest (start, work directory, patched farm)")
      row("whole process", "whole process")
      for (k = 2; k <= 3; k++) {
        whole = median(kinds[k], "whole process"); gcc = median(kinds[k], "gcc")
        # Both sides at once: what counts is how long the user waits for gcc.
        t = median(kinds[k], "compile both sides")
        if (gcc > t) gcc = t
        beyond = whole - gcc
        printf "    %s: %.2f s beyond gcc (%.1f times gcc): ", k == 2 ? "new file" : "warm", beyond, whole / gcc
        said = 0
        for (i = 1; i <= names; i++) {
          name = order[i]
          if (name == "gcc" || name == "whole process" || name == "compile both sides" || name ~ /^of which/) continue
          t = median(kinds[k], name)
          if (t >= 0.05) printf "%s%s %.2f", said++ ? ", " : "", name, t
        }
        printf "\n"
      }
    }'
}

cd "$here/.."
kernel_env=$KPATCH_CACHE/kernels/current/kernel.env
[ -f "$kernel_env" ] || die "no kernel in \`$KPATCH_CACHE\`: run scripts/fetch-kernel.sh"
# shellcheck disable=SC1090 # written by fetch-kernel.sh
. "$kernel_env"
use_cargo
cargo build --release --locked --quiet -p kpatch-build
target=$(cargo metadata --format-version 1 --no-deps --locked |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
tool=$target/release/kpatch-build

# On the file system of the real cache: links and renames are what is measured, too.
scratch=$(mktemp -d -p "$KPATCH_CACHE" bench.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
say "$RELEASE, $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $runs runs each"
for patch in "$@"; do
  rm -rf "${scratch:?}"/*
  one_run cold "$patch" 1
  for ((i = 1; i <= runs; i++)); do
    # The kept objects of the unpatched side.
    rm -rf "$scratch/cache/objects"
    one_run new "$patch" "$i"
  done
  for ((i = 1; i <= runs; i++)); do one_run warm "$patch" "$i"; done
  say "==> ${patch##*/}"
  table
done
