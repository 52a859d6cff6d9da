# SPDX-License-Identifier: GPL-2.0-only
PATCHES=/sys/kernel/livepatch
TRACED=/sys/kernel/tracing/enabled_functions

setup() {
	rmmod loop 2>/dev/null
	works insmod "/guest/$CASE/parts.ko"
	mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
	[ -f $TRACED ] || wrong "there is no $TRACED"
}

# shows LAYER: that layer is on top, in the kernel and in the module.
shows() {
	is "layer $1" cat /proc/uptime
	is "$1 1" cat /proc/parts/pair
	traced uptime_proc_show 1
	traced part_first 1
}

# traced FUNCTION COUNT: how many handlers the kernel's tracer calls for a function.
traced() {
	is "$2" sed -n "s/^$1 .*(\([0-9]*\)).*/\1/p" $TRACED
}

before() {
	has . cat /proc/uptime
	lacks layer cat /proc/uptime
	is "1 1" cat /proc/parts/pair
	traced uptime_proc_show ""
	traced part_first ""
}

# layer PATCH NUMBER
layer() {
	works insmod "/guest/$CASE/$1.ko" "layer=$2"
	settled "$1"
	is 1 cat $PATCHES/$1/enabled
}

loaded() {
	layer one 1
	shows 1
	has "File exists" insmod "/guest/$CASE/one.ko"
	# Who holds it is the patch.
	has "Resource temporarily unavailable" rmmod one
	is 1 cat /sys/module/one/refcnt
	has K cat /sys/module/one/taint
}

# tree PATCH: all files and folders of a patch, with their modes.
tree() {
	(cd "$PATCHES/$1" && find . -exec stat -c '%n %a' {} \; | sort)
}

# What Documentation/ABI/testing/sysfs-kernel-livepatch says, and nothing else.
sysfs() {
	tree one >/tmp/tree
	cat >/tmp/expected <<-EOF
		. 755
		./enabled 644
		./force 200
		./loop 755
		./loop/loop_attr_do_show_sizelimit,1 755
		./loop/patched 444
		./parts 755
		./parts/part_first,1 755
		./parts/patched 444
		./replace 444
		./transition 444
		./vmlinux 755
		./vmlinux/patched 444
		./vmlinux/uptime_proc_show,1 755
	EOF
	diff /tmp/expected /tmp/tree >/tmp/difference || wrong "$(cat /tmp/difference)"
	is one ls $PATCHES
	is 1 cat $PATCHES/one/enabled
	is 0 cat $PATCHES/one/transition
	is 0 cat $PATCHES/one/replace
	is 1 cat $PATCHES/one/vmlinux/patched
	is 1 cat $PATCHES/one/parts/patched
	is 0 cat $PATCHES/one/loop/patched
	fails cat $PATCHES/one/force
	# Nothing but numbers can be written, and only what changes something.
	for value in 1 2 x ""; do
		fails sh -c "echo $value >$PATCHES/one/enabled"
	done
	fails sh -c "echo 1 >$PATCHES/one/force"
	works sh -c "echo 0 >$PATCHES/one/force"
	is 1 cat $PATCHES/one/enabled
	shows 1
}

# hits PROBE: how often a probe was met.
hits() { awk -v "probe=$1" '$1 == probe { print $2 }' /sys/kernel/tracing/kprobe_profile; }

# Probes of the function's beginning and of its return are met, whoever they find there. One within the old
# function is as good as gone.
probed() {
	probes=/sys/kernel/tracing/kprobe_events
	works sh -c "echo 'p:kpatch/entry uptime_proc_show' >>$probes"
	works sh -c "echo 'r:kpatch/return uptime_proc_show' >>$probes"
	offset=9
	until echo "p:kpatch/inside uptime_proc_show+$offset" >>$probes 2>/dev/null || [ $offset -gt 40 ]; do
		offset=$((offset + 1))
	done
	works sh -c "echo 1 >/sys/kernel/tracing/events/kpatch/enable"
	cat /proc/uptime >/dev/null
	is "1 0 1" echo "$(hits entry) $(hits inside) $(hits return)"
	klp_disable one
	cat /proc/uptime >/dev/null
	is "2 1 2" echo "$(hits entry) $(hits inside) $(hits return)"
	klp_unload one
	# The other way round: the probes are there, and the patch comes.
	layer one 1
	cat /proc/uptime >/dev/null
	is "3 1 3" echo "$(hits entry) $(hits inside) $(hits return)"
	echo 0 >/sys/kernel/tracing/events/kpatch/enable
	for probe in entry return inside; do
		works sh -c "echo '-:kpatch/$probe' >>$probes"
	done
	shows 1
}

object_comes() {
	stock loop
	is 1 cat $PATCHES/one/loop/patched
	traced loop_attr_do_show_sizelimit 1
	works rmmod loop
	is 0 cat $PATCHES/one/loop/patched
	traced loop_attr_do_show_sizelimit ""
}

# off PATCH: disables and unloads it.
off() {
	klp_disable "$1"
	klp_unload "$1"
}

# The module stays, and there is nothing any more to enable it again by.
disabled() {
	klp_disable one
	before
	[ -d /sys/module/one ] || wrong "the module went, too"
	has "File exists" insmod "/guest/$CASE/one.ko"
}

unloaded() {
	klp_unload one
	before
}

again() {
	layer one 4
	shows 4
}

# One function, three times. The tracer has one handler for it, however many patches there are.
stacked() {
	layer two 2
	shows 2
	layer three 3
	shows 3
	for patch in one two three; do
		is 1 cat $PATCHES/$patch/enabled
		is 1 cat $PATCHES/$patch/vmlinux/patched
	done
}

# The last comes off, and the one below shows.
in_order() {
	off three
	shows 2
	layer three 3
	shows 3
}

# Kernels of old refused this. Since 5.1 a patch may come out from below: the top stays what it is, and what is
# next is the next that is left. One that comes back comes on top.
out_of_order() {
	off two
	shows 3
	off three
	shows 4
	layer two 2
	shows 2
}

# Nothing is left of those that were replaced, also not where the new one has nothing. They can go.
replaced() {
	klp_load all
	until_gone $PATCHES/one
	until_gone $PATCHES/two
	is "all layers" cat /proc/uptime
	is "1 1" cat /proc/parts/pair
	traced uptime_proc_show 1
	traced part_first ""
	is 1 cat "$PATCHES/$(name_of all)/replace"
	is vmlinux sh -c "cd $PATCHES/$(name_of all) && echo */ | tr -d /"
	klp_unload one
	klp_unload two
}

# And none of them comes back.
gone() {
	off all
	before
	is "" ls $PATCHES
}

run() {
	for name in before loaded sysfs probed object-comes disabled unloaded again stacked in-order out-of-order \
		replaced gone; do
		step $name "$(echo $name | tr - _)"
	done
	rmmod parts
}
