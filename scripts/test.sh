#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# All that must hold before a change is accepted: set-up, format, lints, unit tests and the tests
# in virtual machines.
#
# usage: scripts/test.sh [--all]
#   --all  also on the kernels that few tests are about: `plain-6.12`, and the one that the real
#          changes of tests/integration are for
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

all=
case ${1:-} in
  '') ;;
  --all) all=yes ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) usage_error "unknown argument \`$1\`" ;;
esac

# The version that the real changes are for (tests/integration/tests/it/fixes.rs), which their description
# names. Where it is not in the cache they are taken out of the usual kernel.
changes_version() {
  local description=$here/../../shared/patches/README.md
  [ ! -f "$description" ] ||
    sed -n 's/.*`linux-source-6\.12` \([0-9][^,; ]*\).*/\1/p' "$description" | head -n 1
}

skipped=()

# with_tool NAME COMMAND...: runs it if cargo has NAME, which Debian packages on its own and which
# is not needed to build or test anything.
with_tool() {
  local name=$1
  shift
  if cargo "$name" --version >/dev/null 2>&1; then
    step "$name" "$@"
  else
    skipped+=("$name")
    warn "==> SKIPPED: \`cargo $name\` is not installed (Debian 13: rustfmt, rust-clippy;" \
      "Debian 12: rustfmt-web, rust-web-clippy)"
  fi
}

start=$(now_ms)
cd "$here/.."
"$here/setup.sh"
"$here/fetch-kernel.sh"
"$here/fetch-kernel.sh" --series 6.1 --if-offered
"$here/setup.sh" --compiler-only --for-tests --kernel "$KPATCH_CACHE/kernels/current/kernel.env"
# Without these names a kernel that is gone would only leave its tests out.
export KPATCH_REQUIRE_KERNELS=rust-6.12
older=$KPATCH_CACHE/kernels/stock-6.1/kernel.env
if [ -f "$older" ]; then
  KPATCH_REQUIRE_KERNELS+=' stock-6.1'
  "$here/setup.sh" --compiler-only --kernel "$older"
fi
"$here/build-kernel.sh"
if [ -n "$all" ]; then
  KPATCH_REQUIRE_KERNELS+=' plain-6.12'
  "$here/build-kernel.sh" plain-6.12
  version=$(changes_version)
  [ -z "$version" ] || "$here/fetch-kernel.sh" --version "$version" --if-offered
  export KPATCH_FIXES=all KPATCH_CYCLES=300
fi
use_cargo
with_tool fmt cargo fmt --all --check
with_tool clippy cargo clippy --workspace --all-targets --locked -- -D warnings
# Without this a machine that cannot boot kernels would pass by leaving those tests out.
export KPATCH_REQUIRE_VM=1
# Told before the tests: their own summary is to come last.
[ ${#skipped[@]} -eq 0 ] || warn "not checked here: ${skipped[*]}"
say "==> tests"
status=0
cargo test --workspace --locked --no-fail-fast || status=$?
say "==> total: $(as_seconds $(($(now_ms) - start)))" >&2
exit $status
