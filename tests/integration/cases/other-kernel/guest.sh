# SPDX-License-Identifier: GPL-2.0-only
# What the set-up makes of every build-id.
another=abababababababababababababababababababab

# digits FILE: its bytes in hexadecimal.
digits() { hexdump -ve '1/1 "%02x"' "$1"; }

before() { lacks kpatch cat /proc/cmdline; }

# not_let_in BUILD: refused for its kernel, with both build-ids, and nothing is left of it.
not_let_in() {
	patch=$(name_of "$1")
	fails insmod "/guest/$CASE/$1.ko"
	has "invalid module format" insmod "/guest/$CASE/$1.ko"
	said="$patch: built for vmlinux with build-id $another, this one has "
	has "$said" dmesg
	id=$(dmesg | sed -n "s/.*$said//p" | tail -n 1)
	is 40 printf %s "${#id}"
	has "040000001400000003000000474e5500$id" digits /sys/kernel/notes
	lacks "$patch" cat /proc/modules
	is "" ls /sys/kernel/livepatch
	before
}

refused() { not_let_in other; }

# Although the patch is to a module, which is not even there.
refused_module() { not_let_in loop; }

unchecked() {
	klp_load unchecked
	has kpatch=1 cat /proc/cmdline
	works grep -q kpatch_build_id_check=off "/guest/$CASE/unchecked.ko"
	fails grep -q kpatch_built_for= "/guest/$CASE/unchecked.ko"
	works grep -q "kpatch_built_for=vmlinux:$another" "/guest/$CASE/other.ko"
}

disabled() {
	klp_disable unchecked
	before
}

unloaded() {
	klp_unload unchecked
	before
}

run() {
	step before before
	step refused refused
	step refused-module refused_module
	step unchecked unchecked
	step disabled disabled
	step unloaded unloaded
}
