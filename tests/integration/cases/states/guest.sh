# SPDX-License-Identifier: GPL-2.0-only
before() { is 65536 cat /proc/sys/fs/aio-max-nr; }

first() {
	klp_load first
	is 131072 cat /proc/sys/fs/aio-max-nr
}

# Not doubled once more, and not taken back in between.
second() {
	klp_load second
	until_gone "/sys/kernel/livepatch/$(name_of first)"
	klp_unload first
	is 131072 cat /proc/sys/fs/aio-max-nr
}

# refused BUILD: the kernel does not take it, and the log says why.
refused() {
	dmesg -c >/dev/null
	fails insmod "/guest/$CASE/$1.ko"
	has "is not compatible with the already installed livepatches" dmesg
	has "$(name_of "$1"): the kernel did not enable the patch: one that replaces others must have all their states" dmesg
	[ ! -d "/sys/kernel/livepatch/$(name_of "$1")" ] || wrong "$1 left its folder"
	is 131072 cat /proc/sys/fs/aio-max-nr
}

disabled() {
	klp_disable second
	before
}

unloaded() {
	klp_unload second
	before
}

run() {
	step before before
	step first first
	step second second
	step older refused first
	step without refused without
	step disabled disabled
	step unloaded unloaded
}
