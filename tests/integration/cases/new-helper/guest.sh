# SPDX-License-Identifier: GPL-2.0-only
panic=/proc/sys/kernel/panic
usual=$(cat $panic)

before() { lacks helped cat /proc/uptime; }

loaded() {
	klp_load main
	has helped cat /proc/uptime
}

# The new function is not in the kernel's list; that it returns into a function which is, is enough.
asleep() {
	echo 77 >$panic
	cat /proc/uptime >/tmp/uptime &
	until_in $! kpatch_wait
	echo 0 >"/sys/kernel/livepatch/$(name_of main)/enabled"
	sleep 5
	is 1 cat "/sys/kernel/livepatch/$(name_of main)/transition"
	echo "$usual" >$panic
	wait $!
	has helped cat /tmp/uptime
}

disabled() {
	until_gone "/sys/kernel/livepatch/$(name_of main)"
	before
}

unloaded() {
	klp_unload main
	before
}

run() {
	for name in before loaded asleep disabled unloaded; do
		step $name $name
	done
}
