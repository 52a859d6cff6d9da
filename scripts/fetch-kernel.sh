#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Unpacks a stock Debian cloud kernel into the cache: image, modules, headers and, of the very same
# version, the source. Nothing of it is installed on the system.
#
# usage: scripts/fetch-kernel.sh [--series SERIES] [--version DEBIAN_VERSION | --offline] [--if-offered]
#          [--beside]
#   --series      6.12, if this is not given, or 6.1 (the default kernel of Debian 12)
#   --version     this version (as apt-cache madison linux-source-SERIES lists it), not the newest
#   --offline     the one that the cache has, whatever apt knows of
#   --if-offered  where neither apt nor the cache has one: say so, and succeed
#   --beside      with --version: leave the link of the series where it is
#
# Result: $KPATCH_CACHE/kernels/<release>/, with a link beside it that points to it: `current` to a
# 6.12, `stock-SERIES` to others.
#   kernel.env  lines KEY=value for a shell: RELEASE, VERSION (Debian's), and the absolute paths
#               SOURCE, IMAGE, HEADERS, MODULES (lib/modules/<release>)
#   img/        the unpacked packages: image, headers, headers-common, kbuild
#   source/     the unpacked source
#   manifest    the packages they come from, and the files that decide what is built, by content
#   files.gz    all files, by size and time; both are compared before each use
# The cache may be deleted at any time. A killed run leaves nothing that a later one takes for whole.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

series=6.12
flavour=cloud-amd64
kernels=$KPATCH_CACHE/kernels

wanted_version=
offline=
if_offered=
beside=
while [ $# -gt 0 ]; do
  case $1 in
    --version)
      wanted_version=${2:?--version needs a Debian version}
      shift 2
      ;;
    --series)
      series=${2:?--series needs a series, as 6.12}
      shift 2
      ;;
    --offline)
      offline=yes
      shift
      ;;
    --if-offered)
      if_offered=yes
      shift
      ;;
    --beside)
      beside=yes
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) usage_error "unknown argument \`$1\`" ;;
  esac
done

[ -z "$beside" ] || [ -n "$wanted_version" ] || usage_error "--beside needs --version"

case $series in
  6.12) link=$kernels/current ;;
  6.1) link=$kernels/stock-$series ;;
  *) usage_error "no series \`$series\` (6.12, 6.1)" ;;
esac

# --- which kernel -----------------------------------------------------------------------------

# The packages of a kernel with base release $1 ("6.12.117+deb12", "6.1.0-54"). Where releases count
# ABIs instead of naming the version, kbuild's package is one for all of a series.
packages_of() {
  local kbuild=linux-kbuild-$1
  case $1 in
    "$series".0-*) kbuild=linux-kbuild-$series ;;
  esac
  say "linux-image-$1-$flavour-unsigned" "linux-headers-$1-$flavour" "linux-headers-$1-common" \
    "$kbuild" "linux-source-$series"
}

# candidates: "VERSION BASE" of every kernel whose five packages apt has in one and the same
# version, newest first. Names differ between releases of Debian (+deb13 or nothing in them), so
# the image is found by its version. What apt lists may be gone from the mirror tomorrow: no
# version is written down anywhere.
candidates() {
  local bases base version package complete known
  mapfile -t bases < <(apt-cache pkgnames "linux-image-$series" |
    sed -n "s/^linux-image-\(${series//./\\.}[.+-].*\)-$flavour-unsigned\$/\1/p")
  [ ${#bases[@]} -gt 0 ] || return 0
  known=$(for base in "${bases[@]}"; do packages_of "$base"; done | tr ' ' '\n' | sort -u |
    xargs apt-cache madison |
    awk -F' *[|] *' '/Packages$/ { gsub(/^ +/, "", $1); print $1, $2 }' | sort -u)
  for base in "${bases[@]}"; do
    # shellcheck disable=SC2013 # versions have no spaces
    for version in $(awk -v p="linux-source-$series" '$1 == p { print $2 }' <<<"$known"); do
      complete=yes
      for package in $(packages_of "$base"); do
        grep -qxF -- "$package $version" <<<"$known" || complete=
      done
      [ -z "$complete" ] || say "$version $base"
    done
  done | newest_first
}

# Sorts lines by their first word as dpkg orders versions (which sort -V does not: `~`).
newest_first() {
  local lines=() line i
  while IFS= read -r line; do
    for ((i = ${#lines[@]}; i > 0; i--)); do
      dpkg --compare-versions "${line%% *}" gt "${lines[i - 1]%% *}" || break
      lines[i]=${lines[i - 1]}
    done
    lines[i]=$line
  done
  [ ${#lines[@]} -eq 0 ] || printf '%s\n' "${lines[@]}"
}

# Sets `version` and `base`, empty when apt knows of none that will do.
choose() {
  local all
  all=$(candidates)
  if [ -n "$wanted_version" ]; then
    all=$(awk -v v="$wanted_version" '$1 == v' <<<"$all")
  fi
  read -r version base <<<"$(head -n 1 <<<"$all")" || true
}

# --- the cache --------------------------------------------------------------------------------

# important DIR: the files that decide what is built; these are compared by content.
important() {
  local name
  for name in img/boot/vmlinuz-* img/usr/src/linux-headers-*/.config \
    img/usr/src/linux-headers-*/Module.symvers source/Makefile; do
    (cd "$1" && compgen -G "$name") || die "no \`$name\` in the unpacked packages"
  done
}

# describe DIR: what `manifest` says of their content.
describe() {
  local files
  mapfile -t files < <(important "$1")
  (cd "$1" && sha256sum -- "${files[@]}")
}

# intact DIR: whether a fetched kernel still is what was unpacked; says what is not.
intact() {
  local dir=$1 difference
  [ -f "$dir/manifest" ] && [ -f "$dir/kernel.env" ] && [ -f "$dir/files.gz" ] || return 1
  difference=$(
    diff <(grep '^[0-9a-f]\{64\}  ' "$dir/manifest") <(describe "$dir" 2>&1) || true
    diff <(gunzip -c "$dir/files.gz") <(listing "$dir" img source 2>&1) || true
  )
  [ -n "$difference" ] || return 0
  warn "\`$dir\` is no longer what was unpacked:"
  grep '^[<>]' <<<"$difference" | head -n 5 >&2
  return 1
}

# The value of KEY ($2) in the manifest of DIR ($1).
manifest_value() { sed -n "s/^$2 //p" "$1/manifest" 2>/dev/null || true; }

# one_of DIR PATTERN: the only path in DIR that matches.
one_of() {
  local found
  mapfile -t found < <(cd "$1" && compgen -G "$2")
  [ ${#found[@]} -eq 1 ] || die "expected one \`$2\` in the unpacked packages, not ${#found[@]}"
  printf '%s\n' "${found[0]}"
}

# environment DIR HOME VERSION: kernel.env of a kernel that lies in DIR and will be used in HOME.
environment() {
  local release modules image headers
  image=$(one_of "$1" "img/boot/vmlinuz-*")
  release=${image##*/vmlinuz-}
  headers=$(one_of "$1" "img/usr/src/linux-headers-$release")
  # Debian 13's packages keep modules below /usr.
  modules=img/usr/lib/modules/$release
  [ -d "$1/$modules" ] || modules=$(one_of "$1" "img/lib/modules/$release")
  assignment RELEASE "$release"
  assignment VERSION "$3"
  assignment SOURCE "$2/source"
  assignment IMAGE "$2/$image"
  assignment HEADERS "$2/$headers"
  assignment MODULES "$2/$modules"
}

# use DIR: makes it the series' kernel and says so. The cache may have moved since it was filled.
use() {
  local dir=$1 env
  env=$(environment "$dir" "$dir" "$(manifest_value "$dir" version)")
  if [ "$env" != "$(cat "$dir/kernel.env")" ]; then
    printf '%s\n' "$env" >"$dir/kernel.env.new"
    mv -f "$dir/kernel.env.new" "$dir/kernel.env"
  fi
  if [ -z "$beside" ]; then
    ln -sfn "${dir##*/}" "$link.new"
    mv -fT "$link.new" "$link"
  fi
  say "    $(manifest_value "$dir" version): $(manifest_value "$dir" disk) on disk in $dir"
}

# --- fetching ---------------------------------------------------------------------------------

# download VERSION BASE DIR: the packages into DIR, and `packages` beside them with their hashes; 1
# when apt cannot get one. apt's own sandbox user cannot write into a private cache, hence none;
# what apt checks against the signed lists is checked once more here.
download() {
  local package file
  # What an earlier attempt has left belongs to another version.
  rm -rf "$3"
  mkdir "$3"
  for package in $(packages_of "$2"); do
    say "    download $package $1"
    (cd "$3" && apt-get -q -q -o APT::Sandbox::User=root -o Acquire::Retries=3 \
      download "$package=$1" </dev/null) || return 1
    file=$(cd "$3" && compgen -G "${package}_*.deb") || return 1
    check "$package" "$1" "$3/$file"
  done
}

# check PACKAGE VERSION FILE: against the hash in apt's lists, and notes it.
check() {
  local hash
  hash=$(apt-cache show "$1=$2" | sed -n 's/^SHA256: //p' | sort -u)
  [ "$(sha256sum <"$3")" = "$hash  -" ] || die "\`${3##*/}\` is not what apt's lists describe"
  say "package $1 $2 sha256:$hash" >>"${3%/*}/packages"
}

# unpack DEBS DIR: makes DIR/img and DIR/source. The source's archive goes from package to tar in a
# pipe, without a copy on the disk. Owners in the archives are the packagers', not ours.
unpack() {
  local deb
  mkdir -p "$2/img" "$2/source"
  for deb in "$1"/*.deb; do
    case ${deb##*/} in
      linux-source-*)
        dpkg-deb --fsys-tarfile "$deb" |
          tar -xO -f - "./usr/src/linux-source-$series.tar.xz" |
          tar -xJ -f - -C "$2/source" --strip-components=1 --no-same-owner
        ;;
      *) dpkg-deb --fsys-tarfile "$deb" | tar -x -f - -C "$2/img" --no-same-owner ;;
    esac
  done
}

# settle NEW DIR VERSION: describes what was unpacked in NEW/kernel and lets it take DIR's place.
settle() {
  local new=$1 dir=$2
  {
    say "version $3"
    cat "$new/debs/packages"
    say "disk $(du -sh "$new/kernel" | cut -f1)"
    describe "$new/kernel"
  } >"$new/kernel/manifest"
  listing "$new/kernel" img source | gzip -1 >"$new/kernel/files.gz"
  environment "$new/kernel" "$dir" "$3" >"$new/kernel/kernel.env"
  sync -f "$new/kernel/kernel.env"
  [ ! -e "$dir" ] || mv -T "$dir" "$new/old"
  mv -T "$new/kernel" "$dir"
}

# Whether the series' kernel in the cache, or the one beside it, is whole and of the version asked for; sets
# `dir`.
cached() {
  if [ -n "$beside" ]; then
    dir=$(grep -lxF -- "version $wanted_version" "$kernels"/*/manifest | head -n 1) || true
    # Not by the name of a link to it.
    [ -z "$dir" ] || dir=$(readlink -f "${dir%/manifest}")
  else
    dir=$(readlink -f "$link")
  fi
  [ -d "$dir" ] || return 1
  [ -z "$wanted_version" ] || [ "$(manifest_value "$dir" version)" = "$wanted_version" ] || return 1
  intact "$dir"
}

# Whether apt has lists at all: no series may be missing only because a system is new.
has_lists() { [ -n "$(apt-cache pkgnames linux-source)" ]; }

renew_lists() {
  step "renew apt's package lists" apt_as_root update
}

room_for() {
  local free
  free=$(df --output=avail -k "$1" | tail -n 1)
  [ "$free" -ge 3000000 ] || die "\`$1\` has $((free / 1024)) MB left: 3 GB are needed"
}

main() {
  local version='' base='' dir='' what="kernel $series ($flavour)" tmp
  what+=${wanted_version:+" of version $wanted_version"}
  if [ -n "$offline" ]; then
    if ! cached; then
      [ -n "$if_offered" ] || die "the cache \`$kernels\` has no whole $what"
      warn "==> SKIPPED: the cache has no whole $what"
      return
    fi
    use "$dir"
    return
  fi
  choose
  if [ -z "$version" ]; then
    if cached; then
      say "    apt's lists have no $what; the cache has"
      use "$dir"
      return
    fi
    if [ -n "$if_offered" ] && has_lists; then
      warn "==> SKIPPED: apt's lists have no $what, nor has the cache"
      return
    fi
    renew_lists
    choose
    [ -n "$version" ] ||
      die "apt knows of no $what with source, image, headers and kbuild in one version"
  fi
  dir=$kernels/$base-$flavour
  if [ "$(manifest_value "$dir" version)" = "$version" ] && intact "$dir"; then
    use "$dir"
    return
  fi
  say "    $version: 210 MB to download, 2 GB on disk"
  room_for "$kernels"
  tmp=$(mktemp -d "$kernels/.new.XXXXXX")
  if ! download "$version" "$base" "$tmp/debs"; then
    if cached; then
      warn "$version cannot be downloaded: using what the cache has"
      use "$dir"
      return
    fi
    # Lists that are older than the mirror name packages that are gone from it.
    renew_lists
    choose
    download "$version" "$base" "$tmp/debs" || die "\`$version\` cannot be downloaded"
    dir=$kernels/$base-$flavour
  fi
  step "unpack $version" unpack "$tmp/debs" "$tmp/kernel"
  settle "$tmp" "$dir" "$version"
  use "$dir"
}

mkdir -p "$kernels"
exec 9>"$kernels/.lock"
flock -n 9 || {
  say "    another run is fetching a kernel: waiting for it"
  flock 9
}
# Alone now: what lies here is a killed run's.
rm -rf "$kernels"/.new.*
trap 'rm -rf "$kernels"/.new.*' EXIT
step "a stock $series kernel" main
