# SPDX-License-Identifier: GPL-2.0-only
lines() { dmesg | sed -n 's/.*kpatch callback: //p'; }

# said TEXT: the callbacks that ran since the last time.
said() {
	all=$(lines | wc -l)
	is "$1" sh -c "dmesg | sed -n 's/.*kpatch callback: //p' | tail -n $((all - seen)) | tr '\n' ';'"
	seen=$all
}

before() {
	lacks kpatch cat /proc/cmdline
	said ""
}

loaded() {
	stock loop
	klp_load main
	has kpatch cat /proc/cmdline
	said "pre_patch vmlinux;pre_patch loop;post_patch vmlinux;post_patch loop;"
}

# The module's callbacks run when it comes, while the patch is there.
module_later() {
	stock dummy
	said "pre_patch dummy;post_patch dummy;"
}

module_gone() {
	works rmmod dummy
	said "pre_unpatch dummy;post_unpatch dummy;"
	stock dummy
	said "pre_patch dummy;post_patch dummy;"
}

disabled() {
	klp_disable main
	lacks kpatch cat /proc/cmdline
	said "pre_unpatch vmlinux;pre_unpatch dummy;pre_unpatch loop;post_unpatch vmlinux;post_unpatch dummy;post_unpatch loop;"
}

unloaded() {
	klp_unload main
	before
}

run() {
	seen=$(lines | wc -l)
	step before before
	step loaded loaded
	step module-later module_later
	step module-gone module_gone
	step disabled disabled
	step unloaded unloaded
	rmmod loop dummy
}
