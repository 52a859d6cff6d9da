# SPDX-License-Identifier: GPL-2.0-only
panic=/proc/sys/kernel/panic
usual=$(cat $panic)

loaded() {
	klp_load main
	echo 77 >$panic
	has "Character devices" cat /proc/devices
}

disabled() {
	klp_disable main
	has "Character devices" cat /proc/devices
}

unloaded() { klp_unload main; }

fired() { dmesg | grep -c "kpatch: the work is done"; }

before() { is 0 fired; }

# It ran all the time.
finished() {
	is 0 fired
	echo "$usual" >$panic
	sleep 2
	is 1 fired
}

run() {
	for name in before loaded disabled unloaded; do
		step $name $name
	done
	step done finished
}
