# SPDX-License-Identifier: GPL-2.0-only
# Two processes read one terminal. One holds the mutex while it waits for input, the other waits for
# the mutex, and gets it, or a signal. What the patches count shows as page faults.
setup() {
	mkdir -p /dev/pts
	works mount -t devpts devpts /dev/pts
}

counts() { is "holder 0, waiter $1 read, interrupted $1" contend; }

before() { counts 0; }

short() {
	klp_load short
	counts 1000
}

both() {
	klp_load near
	counts 1100
}

near() {
	klp_disable short
	counts 100
	klp_unload short
	counts 100
}

disabled() {
	klp_disable near
	before
}

unloaded() {
	klp_unload near
	before
}

run() {
	step before before
	step short short
	step both both
	step near near
	step disabled disabled
	step unloaded unloaded
}
