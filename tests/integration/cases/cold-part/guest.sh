# SPDX-License-Identifier: GPL-2.0-only
panic=/proc/sys/kernel/panic
usual=$(cat $panic)

before() { lacks waited cat /proc/version; }

loaded() {
	klp_load main
	echo 77 >$panic
	cat /proc/version >/tmp/version &
	sleeper=$!
	until_in $sleeper version_proc_show.cold
}

# The rest of the changed function is not on its stack.
disabled() {
	klp_disable main
	has version_proc_show.cold cat /proc/$sleeper/stack
	lacks version_proc_show+ cat /proc/$sleeper/stack
}

unloaded() { klp_unload main; }

returned() {
	echo "$usual" >$panic
	wait $sleeper
	has waited cat /tmp/version
	before
}

run() {
	for name in before loaded disabled unloaded returned; do
		step $name $name
	done
}
