# SPDX-License-Identifier: GPL-2.0-only
PATCHES=/sys/kernel/livepatch
TRACED=/sys/kernel/tracing/enabled_functions

setup() {
	works insmod "/guest/$CASE/parts.ko"
	mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
}

forget() {
	mark=$((mark + 1))
	echo "<6>kpatch mark $mark" >/dev/kmsg
}

# The log since then.
log() { dmesg | sed "1,/kpatch mark $mark\$/d"; }

called() { log | sed -n 's/.*fails_[a-z]*: \(init\|exit\|p[a-z]*_[a-z]* .*\)/\1/p' | tr '\n' ';'; }

# The kernel and the module are as if there had never been a patch.
before() {
	has "Linux version" cat /proc/version
	is "1 1" cat /proc/parts/pair
	is "" grep -e '^version_proc_show ' -e '^part_' $TRACED
	is 0 cat /sys/module/parts/refcnt
}

# nothing_of MODULE: no folder, no module.
nothing_of() {
	[ ! -e "$PATCHES/$1" ] || wrong "$PATCHES/$1 is there"
	[ ! -e "/sys/module/$1" ] || wrong "/sys/module/$1 is there"
	lacks "$1" cat /proc/modules
}

# refused ERROR REASON CALLS FILE [PARAMETER]: insmod says ERROR, the log REASON, and what was called is CALLS.
refused() {
	error=$1
	reason=$2
	calls=$3
	shift 3
	forget
	is "finit: $error" finit "$@"
	has "$reason" log
	is "$calls" called
	nothing_of fails_one
	before
}

# with OLD NEW: the patch, made for the function OLD, names another instead.
with() {
	swapped=/tmp/$2.ko
	works swap "/guest/$CASE/one.ko" $swapped "$1" "$2"
}

# The author's own refusal comes before the kernel hears of the patch.
init() { refused "Operation not permitted" "fails_one: init" "init;" "/guest/$CASE/one.ko" init_ret=-1; }

no_symbol() {
	with version_proc_show version_proc_sh0w
	refused "Invalid argument" "symbol 'version_proc_sh0w' not found in symbol table" "init;exit;" $swapped
}

no_symbol_in_module() {
	with part_first part_fir5t
	refused "Invalid argument" "symbol 'part_fir5t' not found in symbol table" "init;exit;" $swapped
}

# A name that several functions have, and nothing that tells which of them is meant.
ambiguous() {
	with version_proc_show m_show
	refused "Invalid argument" "unresolvable ambiguity for symbol 'm_show'" "init;exit;" $swapped
}

# What the module loader and the livepatch core agree on by a mark in the module.
unmarked() {
	with livepatch=Y unmarked=Y
	refused "Invalid argument" "module fails_one is not marked as a livepatch module" "init;exit;" $swapped
}

# A function that the tracer cannot enter. What was done before is undone.
no_entry() {
	with version_proc_show exc_page_fault
	refused "Invalid argument" "failed to find location for function 'exc_page_fault'" \
		"init;pre_patch vmlinux;post_unpatch vmlinux;exit;" $swapped
}

# The like, when the kernel itself is patched already.
no_entry_in_module() {
	with part_first part_quiet
	refused "Invalid argument" "failed to find location for function 'part_quiet'" \
		"init;pre_patch vmlinux;pre_patch parts;post_unpatch vmlinux;post_unpatch parts;exit;" $swapped
}

no_tracer() {
	echo 0 >/proc/sys/kernel/ftrace_enabled
	refused "Device or resource busy" "failed to register ftrace handler for function 'version_proc_show' (-16)" \
		"init;pre_patch vmlinux;post_unpatch vmlinux;exit;" "/guest/$CASE/one.ko"
	echo 1 >/proc/sys/kernel/ftrace_enabled
}

callback() {
	refused "No space left on device" "pre-patch callback failed for object 'parts'" \
		"init;pre_patch vmlinux;pre_patch parts;post_unpatch vmlinux;exit;" "/guest/$CASE/one.ko" pre_patch_ret=-28
}

# While one patch is in transition, another is not let in. The first does not notice.
busy() {
	cat /proc/parts/sleep >/tmp/sleep &
	pid=$!
	until_in $pid part_sleep
	works finit "/guest/$CASE/two.ko"
	is 1 cat $PATCHES/fails_two/transition
	forget
	is "finit: Device or resource busy" finit "/guest/$CASE/one.ko"
	is "init;exit;" called
	nothing_of fails_one
	is 1 cat $PATCHES/fails_two/transition
	echo open >/proc/parts/do
	wait $pid
	is 1 cat /tmp/sleep
	settled fails_two
	is 1 cat $PATCHES/fails_two/enabled
	is patched cat /proc/version
	klp_disable two
	klp_unload two
	before
}

# The patch is there, and a module comes that does not have what it names: that is not loaded then.
not_in_later_module() {
	works rmmod parts
	with part_first part_fir5t
	works finit $swapped
	settled fails_one
	is "finit: Invalid argument" finit "/guest/$CASE/parts.ko"
	has "refusing to load module 'parts'" dmesg
	nothing_of parts
	[ ! -e /proc/parts ] || wrong "/proc/parts is there"
	is 0 cat $PATCHES/fails_one/parts/patched
	is patched cat /proc/version
	klp_disable one
	klp_unload one
	works finit "/guest/$CASE/parts.ko"
	before
}

# After all of that, the patch as it is.
well() {
	forget
	klp_load one
	is patched cat /proc/version
	is "2 1" cat /proc/parts/pair
	klp_disable one
	klp_unload one
	is "init;pre_patch vmlinux;pre_patch parts;post_patch vmlinux;post_patch parts;pre_unpatch vmlinux;pre_unpatch parts;post_unpatch vmlinux;post_unpatch parts;exit;" called
	before
}

run() {
	for name in before init no-symbol no-symbol-in-module ambiguous unmarked no-entry no-entry-in-module \
		no-tracer callback busy not-in-later-module well; do
		step $name "$(echo $name | tr - _)"
	done
	rmmod parts
}
