# SPDX-License-Identifier: GPL-2.0-only
# Each test is what the kernel's documentation does, and the lines of the kernel's log that it shows
# (Documentation/livepatch/callbacks.rst), but for the half minute for which the busy module sleeps in
# the last one, which is shorter here, and "canceling patching transition", which newer kernels say.

DEMO=livepatch_callbacks_demo

# What the livepatch core says of its steps at the level of debugging; of each task it says nothing.
setup() {
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	for function in klp_init_transition klp_complete_transition klp_cancel_transition \
		klp_reverse_transition; do
		echo "func $function +p" >/sys/kernel/debug/dynamic_debug/control ||
			wrong "no dynamic debug for $function"
	done
}

load() {
	file=/guest/$CASE/$1.ko
	shift
	works finit "$file" "$@"
}

# Lines of the log without what differs from boot to boot, what the kernel says of modules that nobody
# signed, and what our core adds.
lines() {
	dmesg | sed -n 's/^\[ *[0-9.]*\] \(livepatch.*\)/\1/p' |
		grep -v -e 'taint' -e 'the kernel did not enable the patch'
}

forget() { seen=$(lines | wc -l); }

# said: since the last time the log got just the lines on standard input.
said() {
	expected=$(cat)
	lines | tail -n +$((seen + 1)) >/tmp/said
	forget
	echo "$expected" | diff - /tmp/said >/tmp/difference || wrong "the log differs: $(tr '\n' '|' </tmp/difference)"
}

test_1() {
	forget
	load mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
	EOF
}

test_2() {
	forget
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	load mod
	said <<-EOF
		livepatch: applying patch 'livepatch_callbacks_demo' to loading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
	EOF
}

test_3() {
	forget
	load mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
		livepatch: reverting patch 'livepatch_callbacks_demo' on unloading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
}

test_4() {
	forget
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	load mod
	said <<-EOF
		livepatch: applying patch 'livepatch_callbacks_demo' to loading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
		livepatch: reverting patch 'livepatch_callbacks_demo' on unloading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
}

test_5() {
	forget
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
}

test_6() {
	forget
	load mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	fails finit "/guest/$CASE/demo.ko" pre_patch_ret=-19
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch: pre-patch callback failed for object 'vmlinux'
		livepatch: failed to enable patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': canceling patching transition, going to unpatch
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
	EOF
}

test_7() {
	forget
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	echo -19 > /sys/module/livepatch_callbacks_demo/parameters/pre_patch_ret
	fails finit "/guest/$CASE/mod.ko"
	said <<-EOF
		livepatch: applying patch 'livepatch_callbacks_demo' to loading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch: pre-patch callback failed for object 'livepatch_callbacks_mod'
		livepatch: patch 'livepatch_callbacks_demo' failed for module 'livepatch_callbacks_mod', refusing to load module 'livepatch_callbacks_mod'
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
}

test_8() {
	forget
	load busymod sleep_secs=0
	usleep 500000
	said <<-EOF
		livepatch_callbacks_busymod: livepatch_callbacks_mod_init
		livepatch_callbacks_busymod: busymod_work_func, sleeping 0 seconds ...
		livepatch_callbacks_busymod: busymod_work_func exit
	EOF
	load demo
	settled "$DEMO"
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting patching transition
		livepatch: 'livepatch_callbacks_demo': completing patching transition
		livepatch_callbacks_demo: post_patch_callback: vmlinux
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': patching complete
	EOF
	load mod
	said <<-EOF
		livepatch: applying patch 'livepatch_callbacks_demo' to loading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_demo: post_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
		livepatch: reverting patch 'livepatch_callbacks_demo' on unloading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': initializing unpatching transition
		livepatch_callbacks_demo: pre_unpatch_callback: vmlinux
		livepatch_callbacks_demo: pre_unpatch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
	works rmmod livepatch_callbacks_busymod
	said <<-EOF
		livepatch_callbacks_busymod: livepatch_callbacks_mod_exit
	EOF
}

test_9() {
	forget
	load busymod sleep_secs=8
	usleep 500000
	said <<-EOF
		livepatch_callbacks_busymod: livepatch_callbacks_mod_init
		livepatch_callbacks_busymod: busymod_work_func, sleeping 8 seconds ...
	EOF
	load demo
	said <<-EOF
		livepatch: enabling patch 'livepatch_callbacks_demo'
		livepatch: 'livepatch_callbacks_demo': initializing patching transition
		livepatch_callbacks_demo: pre_patch_callback: vmlinux
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': starting patching transition
	EOF
	load mod
	said <<-EOF
		livepatch: applying patch 'livepatch_callbacks_demo' to loading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: pre_patch_callback: livepatch_callbacks_mod -> [MODULE_STATE_COMING] Full formed, running module_init
		livepatch_callbacks_mod: livepatch_callbacks_mod_init
	EOF
	works rmmod livepatch_callbacks_mod
	said <<-EOF
		livepatch_callbacks_mod: livepatch_callbacks_mod_exit
		livepatch: reverting patch 'livepatch_callbacks_demo' on unloading module 'livepatch_callbacks_mod'
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_mod -> [MODULE_STATE_GOING] Going away
	EOF
	echo 0 >"/sys/kernel/livepatch/$DEMO/enabled"
	until_gone "/sys/kernel/livepatch/$DEMO"
	said <<-EOF
		livepatch: 'livepatch_callbacks_demo': reversing transition from patching to unpatching
		livepatch: 'livepatch_callbacks_demo': starting unpatching transition
		livepatch: 'livepatch_callbacks_demo': completing unpatching transition
		livepatch_callbacks_demo: post_unpatch_callback: vmlinux
		livepatch_callbacks_demo: post_unpatch_callback: livepatch_callbacks_busymod -> [MODULE_STATE_LIVE] Normal state
		livepatch: 'livepatch_callbacks_demo': unpatching complete
	EOF
	klp_unload demo
	works rmmod livepatch_callbacks_busymod
	said <<-EOF
		livepatch_callbacks_busymod: busymod_work_func exit
		livepatch_callbacks_busymod: livepatch_callbacks_mod_exit
	EOF
}

run() {
	for number in 1 2 3 4 5 6 7 8 9; do
		step "test-$number" "test_$number"
	done
	for function in klp_init_transition klp_complete_transition klp_cancel_transition \
		klp_reverse_transition; do
		echo "func $function -p" >/sys/kernel/debug/dynamic_debug/control
	done
}
