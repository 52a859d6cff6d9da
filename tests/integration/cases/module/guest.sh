# SPDX-License-Identifier: GPL-2.0-only
setup() {
	stock loop
	dd if=/dev/zero of=/tmp/disk bs=4096 count=64 2>/dev/null
}

held() { dmesg | grep -c 'kpatch: loop[0-9]* holds loop'; }
references() { cat /sys/module/loop/refcnt; }

# attach: one device with a file takes one reference on loop, and gives it back.
attach() {
	is 0 references
	works losetup /dev/loop0 /tmp/disk
	is 1 references
	is "$1" cat /sys/block/loop0/loop/sizelimit
	works losetup -d /dev/loop0
	is 0 references
}

before() {
	attach 0
	is "$held" held
}

loaded() {
	patch_references=$(cat "/sys/module/$(name_of main)/refcnt")
	attach "limit 0"
	held=$((held + 1))
	is "$held" held
	is "$patch_references" cat "/sys/module/$(name_of main)/refcnt"
}

# The patch is there first: the module is patched as it comes.
module_later() {
	works rmmod loop
	klp_load main
	stock loop
	loaded
}

# It may go, and come again, while the patch stays.
module_gone() {
	works rmmod loop
	is 1 cat "/sys/kernel/livepatch/$(name_of main)/enabled"
}

# Where the module's own functions are, which the patch refers to.
place() { awk '$3 == "loop_attr_do_show_offset" { print $1 }' /proc/kallsyms; }

# Three times, not always in the same place, so that a reference that was left as it was leads nowhere. Before
# 6.3 the kernel finds what it wrote the first time in the way, and refuses the module.
module_again() {
	if grep -q ' clear_relocate_add$' /proc/kallsyms; then
		stock loop
		loaded
		places=$(place)
		works rmmod loop
		stock dummy
		stock loop
		loaded
		places="$places $(place)"
		works rmmod loop
		works rmmod dummy
		stock loop
		loaded
		places="$places $(place)"
		[ "$(echo $places | tr ' ' '\n' | sort -u | wc -l)" -gt 1 ] || wrong "loop was at $places"
	else
		fails insmod /modules/loop.ko
		has "refusing to load module 'loop'" dmesg
		klp_disable main
		stock loop
		attach 0
		klp_unload main
		klp_load main
		loaded
	fi
}

unloaded_again() {
	klp_disable main
	before
	klp_unload main
	before
}

run() {
	held=0
	step before before
	step loaded step_loaded
	step disabled step_disabled
	step unloaded step_unloaded
	step module-later module_later
	step module-gone module_gone
	step module-again module_again
	step unloaded-again unloaded_again
	rmmod loop
}
