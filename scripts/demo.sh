#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# From nothing to a live-patched stock kernel: installs what is missing, fetches a kernel, builds
# the tools, turns a patch into a module and boots the unmodified kernel in QEMU to show it at work.
#
# usage: scripts/demo.sh [PATCH]      (examples/cmdline.patch)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*) usage_error "unknown argument \`$1\`" ;;
esac
[ $# -le 1 ] || usage_error "one patch at most"
patch=$(realpath -e -- "${1:-$here/../examples/cmdline.patch}") || usage_error "no such patch"

build_tools() {
  use_cargo
  cargo build --release --locked --workspace --bins
}

# Sets `module`. Shows the command as a user would type it.
build_module() {
  local command=("$bin/kpatch-build" -s "$SOURCE" -k "$RELEASE" --headers "$HEADERS"
    --image "$IMAGE" --modules "$MODULES" -o "$output" "$patch")
  # What an earlier demo made must not pass for this one's.
  rm -rf "$output"
  mkdir -p "$output"
  say "    \$ ${command[*]}"
  "${command[@]}"
  module=$(compgen -G "$output/*.ko") || die "no module in \`$output\`"
}

boot() {
  "$bin/demo-boot" "$module"
}

start=$(now_ms)
cd "$here/.."
"$here/setup.sh"
"$here/fetch-kernel.sh"
kernel_env=$KPATCH_CACHE/kernels/current/kernel.env
"$here/setup.sh" --compiler-only --kernel "$kernel_env"
# shellcheck disable=SC1090 # written by fetch-kernel.sh
. "$kernel_env"
step "build the tools" build_tools
target=$(cargo metadata --format-version 1 --no-deps --locked |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
bin=$target/release
output=$target/demo
step "build the livepatch module" build_module
step "boot $RELEASE and load the module" boot
say "==> total: $(as_seconds $(($(now_ms) - start)))"
