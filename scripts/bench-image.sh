#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# How long reading the kernel's image takes (decompress it, decode its symbols, show a function), warm
# and from disk, and how much memory it needs. Fails when an answer is wrong or a limit is exceeded.
#
# usage: scripts/bench-image.sh
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

cd "$here/.."
[ -f "$KPATCH_CACHE/kernels/current/kernel.env" ] ||
  die "no kernel in \`$KPATCH_CACHE\`: run scripts/fetch-kernel.sh"
use_cargo
cargo bench --locked --quiet -p kpatch-build --bench image
