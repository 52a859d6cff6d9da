# SPDX-License-Identifier: GPL-2.0-only
do_things() { echo "$1" >/proc/things || wrong "cannot $1"; }

# shows TEXT: what the driver shows, its lines in one.
shows() { is "$1" sh -c "cat /proc/things | tr '\n' ';'"; }

said() { has "$1" sh -c 'dmesg | tail -n 20'; }

before() {
	works insmod "/guest/$CASE/things.ko"
	do_things "add a"
	do_things tick
	shows "a;"
}

loaded() {
	klp_load main
	do_things "add b"
	shows "a old, shown 1 times, 0 ticks;b new, shown 1 times, 0 ticks;"
}

# One that was there before the patch has the field now, too.
in_flight() { shows "a old, shown 2 times, 0 ticks;b new, shown 2 times, 0 ticks;"; }

# The memory of b is likely to be c's: nothing may be inherited.
life_cycle() {
	do_things "del b"
	do_things "add c"
	shows "a old, shown 3 times, 0 ticks;c new, shown 1 times, 0 ticks;"
}

interrupt() {
	do_things tick
	do_things tick
	shows "a old, shown 4 times, 2 ticks;c new, shown 2 times, 2 ticks;"
}

# Freed so far: SHOWN of b; now SHOWN and TICKS of a and c.
disabled() {
	klp_disable main
	said "counters that were freed: 5"
	shows "a;c;"
}

again() {
	klp_unload main
	klp_load main
	shows "a old, shown 1 times, 0 ticks;c old, shown 1 times, 0 ticks;"
	works rmmod things
	klp_disable main
	klp_unload main
}

# It refuses to be loaded, after it has said what came of it.
duplicate() {
	fails finit "/guest/$CASE/duplicate.ko"
	log=$(dmesg | sed -n 's/.*duplicate: \(before\|first\|again\|or\|another\|after\)/\1/p' | tr '\n' ';')
	is "before 0;first 1;again -17;or 1;another id 0;after 0;" echo "$log"
}

run() {
	step before before
	step loaded loaded
	step in-flight in_flight
	step life-cycle life_cycle
	step interrupt interrupt
	step disabled disabled
	step again again
	step duplicate duplicate
}
