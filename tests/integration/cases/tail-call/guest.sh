# SPDX-License-Identifier: GPL-2.0-only
panic=/proc/sys/kernel/panic
usual=$(cat $panic)

before() { lacks waited cat /proc/softirqs; }

loaded() {
	klp_load main
	has waited cat /proc/softirqs
	echo 77 >$panic
	cat /proc/softirqs >/tmp/softirqs &
	sleeper=$!
	until_in $sleeper kpatch_wait
}

# Nothing of the changed function is on its stack.
disabled() {
	klp_disable main
	has kpatch_wait cat /proc/$sleeper/stack
	lacks show_softirqs cat /proc/$sleeper/stack
}

unloaded() { klp_unload main; }

returned() {
	echo "$usual" >$panic
	wait $sleeper
	has waited cat /tmp/softirqs
	before
}

run() {
	for name in before loaded disabled unloaded returned; do
		step $name $name
	done
}
