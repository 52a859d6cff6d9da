#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Installs through apt what the tools, their tests and the demo need, and only what is missing.
# Meant for Debian 12 and 13 on x86-64. Needs root or sudo only when something is missing.
#
# usage: scripts/setup.sh [[--compiler-only] [--for-tests] --kernel KERNEL_ENV]
#   --kernel         also the compiler that built that kernel (KERNEL_ENV: what
#                    scripts/fetch-kernel.sh wrote)
#   --compiler-only  nothing but that
#   --for-tests      and another compiler that the tests hold against it
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

# What each package is for:
#   building kernel parts   gcc libc6-dev make bc flex bison perl python3 libelf-dev libssl-dev
#                           zlib1g-dev dwarves (pahole) cpio kmod patch diffutils
#   fetching a kernel       ca-certificates xz-utils
#   booting it              busybox-static qemu-system-x86
#   the kernel's own tests  procps (sysctl)
# Tests compile with clang, too: the newest that there is. Its libclang serves bindgen where
# scripts/build-kernel.sh builds a kernel with Rust.
packages="
  gcc libc6-dev make bc flex bison perl python3 libelf-dev libssl-dev zlib1g-dev dwarves cpio kmod
  patch diffutils ca-certificates xz-utils busybox-static qemu-system-x86 procps"

kernel_env=
compiler_only=
for_tests=
while [ $# -gt 0 ]; do
  case $1 in
    --kernel)
      kernel_env=${2:?--kernel needs a file}
      shift 2
      ;;
    --compiler-only)
      compiler_only=yes
      shift
      ;;
    --for-tests)
      for_tests=yes
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) usage_error "unknown argument \`$1\`" ;;
  esac
done

# Prints those of its arguments that are not installed.
not_installed() {
  # dpkg-query fails when it has never heard of a package.
  { dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } |
    sed -n 's/^installed //p' | sort -u | comm -13 - <(printf '%s\n' "$@" | sort -u)
}

# Whether apt can install PACKAGE, in at least version MINIMUM when that is given.
offered() {
  local candidate
  candidate=$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
  [ -n "$candidate" ] && [ "$candidate" != '(none)' ] &&
    { [ -z "${2:-}" ] || dpkg --compare-versions "$candidate" ge "$2"; }
}

# The packages of the first family that is new enough here: plain `rustc` on Debian 13, `rustc-web`
# (what the browsers are built with) on Debian 12.
rust_packages() {
  if offered rustc "$RUST_MINIMUM"; then
    say rustc cargo rust-src
  elif offered rustc-web "$RUST_MINIMUM"; then
    say rustc-web cargo-web rust-web-src
  else
    return 1
  fi
}

# The packages' lists are renewed once at most, and only when something is to be installed.
lists_fresh=
update_lists() {
  [ -z "$lists_fresh" ] || return 0
  lists_fresh=yes
  step "renew apt's package lists" apt_as_root update
}

# in_the_way PACKAGE...: the packages that apt would remove to install these, each with the version
# that the archive has of it: `qemu-utils=1:7.2...`. They came from another archive (backports that
# are no longer there, say), and what is installed here must be of one version with them.
in_the_way() {
  local package version
  apt-get -s -q -q install --no-install-recommends "$@" 2>/dev/null |
    sed -n 's/^Remv \([^ ]*\).*/\1/p' | while IFS= read -r package; do
      version=$(apt-cache madison "$package" | awk -F' *[|] *' 'NR == 1 { print $2 }')
      [ -z "$version" ] || say "$package=$version"
    done
}

# --no-remove: what a user chose to install is never traded for what we need. What is in the way in
# a version that no archive has any more is taken in the version that there is.
install() {
  local missing older
  missing=$(not_installed "$@")
  [ -n "$missing" ] || return 0
  update_lists
  # shellcheck disable=SC2086 # one word per package
  older=$(in_the_way $missing)
  [ -z "$older" ] || warn "installed in another version from now on:" $older
  # shellcheck disable=SC2086 # one word per package
  step "install $(paste -sd ' ' <<<"$missing")" apt_as_root \
    install --no-install-recommends --no-remove ${older:+--allow-downgrades} $missing $older
}

check_system() {
  [ "$(uname -m)" = x86_64 ] || die "only x86-64 is supported, this is $(uname -m)"
  command -v apt-get >/dev/null || die "no apt-get here: Debian 12 or 13 is needed"
}

install_rust() {
  local cargo core wanted
  cargo=$(find_cargo) || cargo=
  core=$(find_core) || core=
  if [ -z "$core" ] && [ -n "${KPATCH_RUSTC:-}" ]; then
    die "KPATCH_RUSTC=$KPATCH_RUSTC is not a rustc >= $RUST_MINIMUM with the sources of \`core\`"
  fi
  if [ -z "$cargo" ] || [ -z "$core" ]; then
    if [ -z "$(not_installed rustup)" ]; then
      die "Debian's rustup excludes Debian's rustc: run \`rustup default stable\` and" \
        "\`rustup component add rust-src\`"
    fi
    update_lists
    wanted=$(rust_packages) ||
      die "apt offers no rustc >= $RUST_MINIMUM: install one with rustup, and its sources of" \
        "\`core\` with \`rustup component add rust-src\`"
    # shellcheck disable=SC2086 # one word per package
    install $wanted
    cargo=$(find_cargo) || die "still no cargo and rustc >= $RUST_MINIMUM"
    core=$(find_core) || die "still no rustc >= $RUST_MINIMUM with the sources of \`core\`"
  fi
  say "    tools are built with $cargo/rustc ($(rust_version "$cargo/rustc"))"
  say "    the in-kernel core is built with $core ($(rust_version "$core"))"
}

# Debian has a package for each version of clang, and adds newer ones to its stable releases.
install_clang() {
  local newest
  if ! compgen -c clang | grep -Eqx 'clang(-[0-9]+)?'; then
    update_lists
    newest=$(apt-cache search --names-only '^clang-[0-9]+$' |
      sed -n 's/^\(clang-[0-9]*\) .*/\1/p' | sort -V | tail -n 1)
    [ -n "$newest" ] || die "apt offers no clang"
    install "$newest"
  fi
  say "    tests compile with $(compgen -c clang | grep -Ex 'clang(-[0-9]+)?' | sort -V | tail -n 1)"
}

# A kernel's own compiler, by the name in its configuration; x86_64-linux-gnu-gcc-12 is in gcc-12.
install_compiler() {
  local name
  [ -f "$kernel_env" ] || die "no \`$kernel_env\`: run scripts/fetch-kernel.sh"
  # shellcheck disable=SC1090 # written by fetch-kernel.sh
  . "$kernel_env"
  name=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ "]*\).*/\1/p' "${HEADERS:?}/.config")
  [ -n "$name" ] || die "\`$HEADERS/.config\` does not say which compiler built the kernel"
  if ! command -v "$name" >/dev/null; then
    install "${name#x86_64-linux-gnu-}"
  fi
  command -v "$name" >/dev/null || die "the kernel's compiler \`$name\` cannot be installed here"
  [ -z "$for_tests" ] || install_older_gcc "$name"
  say "    ${RELEASE:?} was built with $name: present"
}

# A test needs another gcc, to see that the tool notices it: the next older one that apt has.
install_older_gcc() {
  local name=${1#x86_64-linux-gnu-} version
  case $name in
    gcc-*) ;;
    *) return 0 ;;
  esac
  for ((version = ${name#gcc-} - 1; version > 8; version--)); do
    if command -v "gcc-$version" >/dev/null || offered "gcc-$version"; then
      install "gcc-$version"
      say "    tests compile with gcc-$version, too"
      return 0
    fi
  done
  die "apt offers no gcc older than $name"
}

check_system
[ -z "$compiler_only" ] || [ -n "$kernel_env" ] || usage_error "--compiler-only needs --kernel"
check_system
if [ -z "$compiler_only" ]; then
  # shellcheck disable=SC2086 # one word per package
  step "packages" install $packages
  step "clang" install_clang
  step "Rust toolchains" install_rust
fi
if [ -n "$kernel_env" ]; then
  step "the kernel's compiler" install_compiler
fi
