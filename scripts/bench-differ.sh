#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# How long create-diff-object takes and how much memory it needs: by phase, over objects of 1,000 to
# 32,000 functions, over real objects of the kernel in the cache, and over a whole vmlinux.o if
# scripts/small-kernel.sh has built one. Fails when an answer is wrong or a limit is exceeded.
#
# usage: scripts/bench-differ.sh [--small-kernel]
#   --small-kernel  builds the small kernel first if it is not there (minutes)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

case ${1:-} in
  '') ;;
  --small-kernel) "$here/small-kernel.sh" ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) usage_error "unknown argument \`$1\`" ;;
esac

cd "$here/.."
kernel_env=$KPATCH_CACHE/kernels/current/kernel.env
[ -f "$kernel_env" ] || die "no kernel in \`$KPATCH_CACHE\`: run scripts/fetch-kernel.sh"
# shellcheck disable=SC1090 # written by fetch-kernel.sh
. "$kernel_env"
use_cargo
cargo build --release --locked --quiet -p kpatch-build
target=$(cargo metadata --format-version 1 --no-deps --locked |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# kpatch-build keeps the objects of the unpatched source: these are compared with a change of theirs.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for patch in examples/cmdline.patch scripts/bench/tcp-input.patch; do
  "$target/release/kpatch-build" -s "$SOURCE" -k "$RELEASE" --headers "$HEADERS" --image "$IMAGE" \
    --modules "$MODULES" -o "$scratch/out" "$patch" >"$scratch/said" 2>&1 || {
    cat "$scratch/said" >&2
    die "\`$patch\` could not be built"
  }
done
say "$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
cargo bench --locked -p create-diff-object --bench phases --bench process
