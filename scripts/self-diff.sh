#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Compares objects of the stock kernel with themselves, compiled as they are and with a blank line and a
# comment at the top of every file, and lists every one in which the differ sees a change. A smaller
# configuration follows if there is one. Objects are kept in the cache, 2 for each compared one.
#
# usage: scripts/self-diff.sh [NUMBER]
#   NUMBER  objects of the shipped configuration (500)
#
# SELF_DIFF_CONFIG: options of the smaller configuration, all others off
# (../shared/kernel/rust-livepatch.config beside the project, where that is)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  *[!0-9]*) usage_error "not a number: \`$1\`" ;;
esac
number=${1:-500}
options=${SELF_DIFF_CONFIG:-$here/../../shared/kernel/rust-livepatch.config}

cd "$here/.."
kernel_env=$KPATCH_CACHE/kernels/current/kernel.env
[ -f "$kernel_env" ] || die "no kernel: run scripts/fetch-kernel.sh"
use_cargo
run() { cargo run -q --release -p integration --bin self-diff -- "$@"; }

status=0
say "==> the shipped configuration"
run "$number" || status=$?
if [ -f "$options" ]; then
  say "==> $(basename "$options")"
  # shellcheck disable=SC1090 # written by fetch-kernel.sh
  . "$kernel_env"
  compiler=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ "]*\).*/\1/p' "${HEADERS:?}/.config")
  objects=$(mktemp -d)
  trap 'rm -rf "$objects"' EXIT
  # Rust and the samples would need more than the C compiler.
  sed -e '/CONFIG_RUST[=_]/d' -e '/CONFIG_SAMPLE/d' "$options" >"$objects/options"
  make -s -C "${SOURCE:?}" O="$objects" CC="$compiler" KCONFIG_ALLCONFIG="$objects/options" \
    allnoconfig >"$objects/log" 2>&1 || die "make allnoconfig: $(cat "$objects/log")"
  run "$number" "$objects/.config" || status=$?
else
  warn "==> SKIPPED: a smaller configuration: no \`$options\`"
fi
exit "$status"
