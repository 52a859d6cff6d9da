#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds a small kernel of our own from the source that scripts/fetch-kernel.sh unpacked: what the
# tests patch as a tree that a user built. Takes minutes, once.
#
# usage: scripts/build-kernel.sh [--offline] [NAME]
#   NAME       which: scripts/kernels/NAME.config. rust-6.12, if it is not given, has the kernel's
#              Rust support and is built beside its source; plain-6.12 has none, and is built in it
#   --offline  the one that the cache has, or none: nothing is built
#
# Result: $KPATCH_CACHE/kernels/NAME/
#   kernel.env  as of a fetched kernel; HEADERS and OBJECTS both are the object directory, RUSTC and
#               BINDGEN are the programs that it was built with, if it has Rust
#   objects/    the object directory, kept whole; or instead
#   source/     a copy of the source, in which it was built: SOURCE is OBJECTS
#   img/        lib/modules/<release>, as `make modules_install` leaves them
#   manifest    what it was made of, and the files that decide what is built, by content
#   files.gz    all files, by size and time; both are compared before each use
# $KPATCH_CACHE/tools/bindgen/ has what the kernel's build calls besides compilers. All that may be
# deleted at any time. A build is in place, for objects name their directory: it counts only when it
# has its kernel.env, which comes last.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

offline=
name=rust-6.12
while [ $# -gt 0 ]; do
  case $1 in
    --offline) offline=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) usage_error "unknown argument \`$1\`" ;;
    *) name=$1 ;;
  esac
  shift
done
kernels=$KPATCH_CACHE/kernels
config=$here/kernels/$name.config
[ -f "$config" ] || usage_error "no kernel \`$name\`: there is no \`$config\`"
dir=$kernels/$name
log=$kernels/$name.log
with_rust=
! grep -qx 'CONFIG_RUST=y' "$config" || with_rust=yes
# Where in `dir` it is built.
place=objects
! grep -qx '# kpatch: built in its source tree' "$config" || place=source

# The oldest bindgen that Linux 6.12 takes (scripts/min-tool-version.sh).
BINDGEN_MINIMUM=0.65.1
bindgen_root=$KPATCH_CACHE/tools/bindgen
bindgen=

# --- what it is made of -----------------------------------------------------------------------

# Sets SOURCE, VERSION and so on.
read_source() {
  local kernel_env=$kernels/current/kernel.env
  [ -f "$kernel_env" ] || die "no kernel in \`$KPATCH_CACHE\`: run scripts/fetch-kernel.sh"
  # shellcheck disable=SC1090 # written by fetch-kernel.sh
  . "$kernel_env"
}

# made_of RUSTC: what decides how the kernel comes out, one line each. The recipe counts what is done
# here. Without Rust there is no RUSTC, here and below.
made_of() {
  say "recipe 1"
  say "source $VERSION $SOURCE"
  say "config $(sha256sum <"$config" | cut -d' ' -f1)"
  say "compiler $(gcc --version | head -n 1)"
  [ -z "$1" ] || say "rustc $1 $("$1" --version)"
}

# The files that decide what is built against it.
important() {
  local files=(.config Module.symvers vmlinux arch/x86/boot/bzImage)
  [ -z "$with_rust" ] || files+=('rust/*.rmeta' 'rust/*.so')
  # shellcheck disable=SC2068 # patterns, and no spaces in them
  (cd "$dir" && sha256sum -- ${files[@]/#/$place/})
}

# intact RUSTC: whether the kernel is whole, and what would be built now; says what is not.
intact() {
  local difference
  [ -f "$dir/kernel.env" ] && [ -f "$dir/manifest" ] && [ -f "$dir/files.gz" ] || return 1
  difference=$(
    diff "$dir/manifest" <(made_of "$1" && important 2>&1) || true
    diff <(gunzip -c "$dir/files.gz") <(listing "$dir" "$place" img 2>&1) || true
  )
  [ -n "$difference" ] || return 0
  warn "\`$dir\` is no longer what was built, or would not be built so any more:"
  grep '^[<>]' <<<"$difference" | head -n 5 >&2
  return 1
}

# --- building ---------------------------------------------------------------------------------

# Sets `bindgen` to the first that is new enough.
find_bindgen() {
  local version
  for bindgen in "$(command -v bindgen || true)" "$bindgen_root/bin/bindgen"; do
    [ -x "$bindgen" ] || continue
    version=$(rust_version "$bindgen")
    [ -z "$version" ] || ! version_at_least "$version" "$BINDGEN_MINIMUM" || return 0
  done
  return 1
}

# Debian 12's bindgen is too old: cargo builds one into the cache.
install_bindgen() {
  ! find_bindgen || return 0
  use_cargo
  step "build bindgen" cargo install --quiet --locked --root "$bindgen_root" bindgen-cli
  find_bindgen || die "the bindgen that cargo has built does not run"
}

# kernel_make RUSTC ARGUMENT...: kbuild, whose thousands of lines are shown when it fails.
kernel_make() {
  local rustc=$1 where=(-C "$SOURCE" O="$dir/objects")
  shift
  [ "$place" = objects ] || where=(-C "$dir/source")
  # KBUILD_BUILD_*: nothing of this machine. LOCALVERSION: no `+`, whatever the cache is part of.
  PATH=${rustc:+$(dirname "$rustc"):}$PATH make "${where[@]}" ARCH=x86_64 LOCALVERSION= \
    ${rustc:+RUSTC="$rustc"} ${bindgen:+BINDGEN="$bindgen"} \
    KBUILD_BUILD_USER=kpatch KBUILD_BUILD_HOST=kpatch "$@" >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "\`$name\` cannot be built: see $log"
  }
}

# Options that kbuild leaves out in silence when a tool for them is missing.
check_config() {
  local line missing=()
  while IFS= read -r line; do
    case $line in
      CONFIG_*) grep -qxF -- "$line" "$dir/$place/.config" || missing+=("$line") ;;
    esac
  done <"$config"
  [ ${#missing[@]} -eq 0 ] ||
    die "the kernel's configuration does not take ${missing[*]}: see $log"
}

environment() {
  local rustc=$1 objects=$dir/$place release
  release=$(cat "$objects/include/config/kernel.release")
  assignment RELEASE "$release"
  assignment VERSION "$VERSION"
  if [ "$place" = objects ]; then
    assignment SOURCE "$SOURCE"
  else
    assignment SOURCE "$objects"
  fi
  assignment IMAGE "$objects/arch/x86/boot/bzImage"
  assignment HEADERS "$objects"
  assignment MODULES "$dir/img/lib/modules/$release"
  assignment OBJECTS "$objects"
  [ -z "$rustc" ] || assignment RUSTC "$rustc"
  [ -z "$rustc" ] || assignment BINDGEN "$bindgen"
}

# A source tree of its own. Not made of links: what is done to one tree is not to be seen in the other.
# Half of the source is code that is for other machines, or for graphics and sound.
copy_source() {
  tar -C "$SOURCE" -cf - --exclude='./Documentation/*.rst' --exclude='./arch/[!x]*/*.[chS]' \
    --exclude='./arch/[!x]*/*.dts*' --exclude='./drivers/gpu/*.[ch]' --exclude='./sound/*.[ch]' . |
    tar -C "$dir/source" -xf -
}

build() {
  local rustc=$1 free
  free=$(df --output=avail -k "$kernels" | tail -n 1)
  [ "$free" -ge 3000000 ] || die "\`$kernels\` has $((free / 1024)) MB left: 3 GB are needed"
  rm -rf "$dir"
  mkdir -p "$dir/$place"
  : >"$log"
  [ "$place" = objects ] || step "copy the source" copy_source
  step "configure $name" kernel_make "$rustc" KCONFIG_ALLCONFIG="$config" allnoconfig
  check_config
  step "build $name (minutes)" kernel_make "$rustc" -j"$(nproc)" bzImage modules
  step "install its modules" kernel_make "$rustc" INSTALL_MOD_PATH="$dir/img" modules_install
  {
    made_of "$rustc"
    important
  } >"$dir/manifest"
  listing "$dir" "$place" img | gzip -1 >"$dir/files.gz"
  environment "$rustc" >"$dir/kernel.env.new"
  sync -f "$dir/kernel.env.new"
  mv -f "$dir/kernel.env.new" "$dir/kernel.env"
}

main() {
  local rustc=
  read_source
  [ -z "$with_rust" ] || rustc=$(find_core) ||
    die "no rustc >= $RUST_MINIMUM with the sources of \`core\`: run scripts/setup.sh"
  if intact "$rustc"; then
    say "    $(sed -n 's/^RELEASE=//p' "$dir/kernel.env"): $dir"
    return
  fi
  # It does not count any more, whatever comes.
  rm -f "$dir/kernel.env"
  [ -z "$offline" ] || die "the cache has no whole \`$name\`"
  [ -z "$with_rust" ] || install_bindgen
  build "$rustc"
  say "    $(sed -n 's/^RELEASE=//p' "$dir/kernel.env"): $(du -sh "$dir" | cut -f1) on disk in $dir"
}

mkdir -p "$kernels"
exec 9>"$kernels/.$name.lock"
flock -n 9 || {
  say "    another run is building \`$name\`: waiting for it"
  flock 9
}
step "kernel $name" main
