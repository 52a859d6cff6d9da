#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds the vmlinux.o of a small kernel (scripts/bench/small-kernel.config) from the source that
# scripts/fetch-kernel.sh unpacked, each function in a section of its own, objtool run on it: what the
# benchmark of the differ compares as a whole. Takes minutes, once.
#
# usage: scripts/small-kernel.sh
#
# Result: $KPATCH_CACHE/small-kernel/vmlinux.o
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) usage_error "unknown argument \`$1\`" ;;
esac

kernel_env=$KPATCH_CACHE/kernels/current/kernel.env
[ -f "$kernel_env" ] || die "no kernel in \`$KPATCH_CACHE\`: run scripts/fetch-kernel.sh"
# shellcheck disable=SC1090 # written by fetch-kernel.sh
. "$kernel_env"

# What it is made of: as long as that stays, so does the result.
made_of=$(printf '%s\n' "$VERSION" | cat - "$here/bench/small-kernel.config" | sha256sum | cut -d' ' -f1)
result=$KPATCH_CACHE/small-kernel
if [ -f "$result/vmlinux.o" ] && [ "$(cat "$result/made-of" 2>/dev/null || true)" = "$made_of" ]; then
  say "small kernel: $result/vmlinux.o"
  exit 0
fi

build=$(mktemp -d -p "$KPATCH_CACHE" small-kernel.XXXXXX)
trap 'rm -rf "$build"' EXIT
kernel_make() {
  make -C "$SOURCE" O="$build/out" ARCH=x86_64 KCFLAGS='-ffunction-sections -fdata-sections' "$@" \
    >>"$build/log" 2>&1 || {
    tail -n 30 "$build/log" >&2
    die "the small kernel cannot be built"
  }
}
step 'configure the small kernel' \
  kernel_make KCONFIG_ALLCONFIG="$here/bench/small-kernel.config" allnoconfig
step "build the small kernel (minutes)" kernel_make -j"$(nproc)" vmlinux.o
mkdir -p "$build/result"
mv "$build/out/vmlinux.o" "$build/result/vmlinux.o"
printf '%s\n' "$made_of" >"$build/result/made-of"
rm -rf "$result"
mv "$build/result" "$result"
say "small kernel: $result/vmlinux.o"
