#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds one of the livepatches of examples/rust for a stock kernel, boots that in QEMU, and shows the
# kernel's log while the livepatch comes and goes.
#
# usage: scripts/example.sh [sample | callbacks | shadow]      (sample)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

name=${1:-sample}
case $name in
  -h | --help)
    usage
    exit 0
    ;;
  sample | callbacks | shadow) ;;
  *) usage_error "no example \`$name\`" ;;
esac
[ $# -le 1 ] || usage_error "one example at a time"

# What its test shows is what there is to see.
run_case() {
  use_cargo
  KPATCH_REQUIRE_VM=1 cargo test --quiet --locked -p integration --test integration -- \
    --exact "vm::max::rust-$name"
}

show_log() {
  local target
  target=$(cargo metadata --format-version 1 --no-deps --locked |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  sed -n "/KTEST rust-$name begin/,/KTEST rust-$name end/p" \
    "$target"/tmp/it/boot/*/"max-rust-$name-1/serial.log" | tr -d '\r'
}

cd "$here/.."
"$here/setup.sh"
"$here/fetch-kernel.sh"
"$here/setup.sh" --compiler-only --kernel "$KPATCH_CACHE/kernels/current/kernel.env"
step "build $name, boot and load it" run_case
step "what the kernel said" show_log
