# SPDX-License-Identifier: GPL-2.0-only
# digits FILE: its bytes in hexadecimal.
digits() { hexdump -ve '1/1 "%02x"' "$1"; }

# callbacks: how many of the author's callbacks have run.
callbacks() { dmesg | grep -c "kpatch gate: the author's"; }

# limit TEXT: what an attached loop device shows.
limit() {
	works losetup /dev/loop0 /tmp/disk
	is "$1" cat /sys/block/loop0/loop/sizelimit
	works losetup -d /dev/loop0
}

# said: both build-ids of loop, since the last time.
said() {
	text="$(name_of other): built for loop with build-id $another, this one has $id"
	all=$(dmesg | grep -c "$text\$")
	[ "$all" -gt "$seen" ] || wrong "nobody says '$text'"
	seen=$all
}

before() {
	dd if=/dev/zero of=/tmp/disk bs=4096 count=64 2>/dev/null
	stock loop
	another=$(strings "/guest/$CASE/other.ko" | sed -n 's/^kpatch_built_for=loop://p')
	id=$(digits /sys/module/loop/notes/.note.gnu.build-id | cut -c33-)
	is 40 printf %s "${#id}"
	is 40 printf %s "${#another}"
	limit 0
}

module_first() {
	fails insmod "/guest/$CASE/other.ko"
	said
	lacks "$(name_of other)" cat /proc/modules
	is "" ls /sys/kernel/livepatch
	limit 0
}

# The patch is let in, for the kernel is right; the module then is not.
patch_first() {
	works rmmod loop
	klp_load other
	has "invalid module format" insmod /modules/loop.ko
	said
	has "refusing to load module 'loop'" dmesg
	lacks "loop " cat /proc/modules
	is 1 cat "/sys/kernel/livepatch/$(name_of other)/enabled"
}

# Without the patch the module comes again. Nothing of the author ever ran.
gone() {
	klp_disable other
	klp_unload other
	stock loop
	limit 0
	is 0 callbacks
}

right() {
	klp_load right
	limit "limit 0"
	is 1 callbacks
	works rmmod loop
	stock loop
	limit "limit 0"
	is 3 callbacks
	klp_disable right
	klp_unload right
	limit 0
	is 4 callbacks
}

unchecked() {
	klp_load unchecked
	limit "limit 0"
	is 5 callbacks
	klp_disable unchecked
	klp_unload unchecked
	limit 0
	is 6 callbacks
}

run() {
	seen=0
	step before before
	step module-first module_first
	step patch-first patch_first
	step gone gone
	step right right
	step unchecked unchecked
	rmmod loop
}
