# SPDX-License-Identifier: GPL-2.0-only
panic=/proc/sys/kernel/panic
usual=$(cat $panic)

failing() { insmod "/guest/$CASE/main.ko" 2>&1 | sed -n 's/.*: //p'; }

disabled() { lacks "$(name_of main)" ls /sys/kernel/livepatch; }

before() {
	lacks "$(name_of main)" cat /proc/modules
	disabled
}

failed() {
	echo 77 >$panic
	is "Structure needs cleaning" failing
	echo "$usual" >$panic
	has "the kernel did not enable the patch (error -117)" dmesg
	before
}

loaded() { is 0 cat "/sys/kernel/livepatch/$(name_of main)/transition"; }

run() {
	step before before
	step failed failed
	step loaded step_loaded
	step disabled step_disabled
	step unloaded step_unloaded
}
