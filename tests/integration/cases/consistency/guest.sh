# SPDX-License-Identifier: GPL-2.0-only
PARTS=/proc/parts
WHOLE=/sys/kernel/livepatch/whole

setup() {
	works insmod "/guest/$CASE/parts.ko"
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	echo "func klp_try_switch_task +p" >/sys/kernel/debug/dynamic_debug/control ||
		wrong "no dynamic debug"
	thread=$(pidof part_thread)
}

gate() { echo "$1" >$PARTS/do; }

# The module's thread sleeps in a part all the time: who kicks it sees it come out, and go back in.
kick() { echo kick >$PARTS/do; }

# sleeper FILE: a task that sleeps in a part until the gate opens.
sleeper() {
	cat "$PARTS/$1" >"/tmp/$1" 2>&1 &
	pid=$!
	until_in $pid "part_${1#slow_}"
}

# state SIDE PID...: the side on which the tasks are.
state() {
	side=$1
	shift
	for task in "$@"; do
		is "$side" cat "/proc/$task/patch_state"
	done
}

# soon SIDE PID: a task gets there.
soon() {
	tries=0
	until [ "$(cat "/proc/$2/patch_state")" = "$1" ] || [ $tries -gt 100 ]; do
		tries=$((tries + 1))
		usleep 50000
	done
	state "$1" "$2"
}

# thread_runs PART: the thread comes out of that part when it is kicked.
thread_runs() {
	kick
	tries=0
	until [ "$(cat $PARTS/thread)" = "$1" ] || [ $tries -gt 100 ]; do
		tries=$((tries + 1))
		usleep 50000
	done
	is "$1" cat $PARTS/thread
}

# stalled ENABLED: the transition does not end, though the kernel looks about once a second.
stalled() {
	sleep 2
	is 1 cat $WHOLE/transition
	is "$1" cat $WHOLE/enabled
}

load() { works insmod "/guest/$CASE/$1.ko"; }

before() {
	state -1 self 1 "$thread"
	is "1 1" cat $PARTS/pair
	is 1 cat $PARTS/child
}

# Nobody who sleeps in an old function changes sides, a kernel thread as little as others. All else does.
asleep() {
	sleeper sleep
	asleep=$pid
	sleeper fork
	forker=$pid
	sleeper slow_pair
	between=$pid
	load whole
	stalled 1
	state 0 $asleep $between $forker "$thread"
	state 1 self 1
	is "2 2" cat $PARTS/pair
	has "klp_try_switch_task: cat:$asleep is sleeping on function part_sleep" dmesg
	has "klp_try_switch_task: part_thread:$thread is sleeping on function part_work" dmesg
	# The thread comes out of the old function and changes sides before it goes into the new one.
	kick
	soon 1 "$thread"
	stalled 1
	state 0 $asleep $between $forker
}

# Children are born on their parent's side: those of tasks that changed.
born_changed() {
	sides=$(for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'cat /proc/self/patch_state'; done | sort -u)
	[ "$sides" = 1 ] || wrong "children are on the sides $sides"
	is 2 cat $PARTS/child
}

# The one of a task that did not: it calls the old function, though everyone else has the new one.
born_unchanged() {
	gate open
	wait $forker
	is 1 cat /tmp/fork
}

# Who is woken goes on with old functions, and changes sides when it leaves the kernel.
woken() {
	wait $asleep
	is 1 cat /tmp/sleep
	wait $between
	is "1 1" cat /tmp/slow_pair
	settled whole
	is 1 cat $WHOLE/enabled
	state -1 self 1 "$thread"
	is 2 cat $PARTS/sleep
	thread_runs 2
}

# The same on the way back, from the new function to the old one.
asleep_again() {
	gate close
	sleeper sleep
	asleep=$pid
	sleeper slow_pair
	fails rmmod whole
	echo 0 >$WHOLE/enabled
	kick
	stalled 0
	state 1 $asleep $pid
	state 0 self 1 "$thread"
	is "1 1" cat $PARTS/pair
	fails rmmod whole
	gate open
	wait $asleep $pid
	is 2 cat /tmp/sleep
	is "2 2" cat /tmp/slow_pair
	until_gone $WHOLE
	klp_unload whole
	before
	thread_runs 1
}

# Of a patch that does not get in, the way back is free: who stalled it is where it should be. Only the thread has
# gone in, and sleeps there: until it is kicked, all can be turned around once more.
reversed() {
	gate close
	sleeper sleep
	load whole
	kick
	stalled 1
	echo 0 >$WHOLE/enabled
	echo 1 >$WHOLE/enabled
	stalled 1
	state 0 $pid
	is "2 2" cat $PARTS/pair
	echo 0 >$WHOLE/enabled
	kick
	until_gone $WHOLE
	klp_unload whole
	until_in $pid part_sleep
	is "1 1" cat $PARTS/pair
	gate open
	wait $pid
	is 1 cat /tmp/sleep
}

# Of a patch that does not get out, the way back in.
reversed_back() {
	gate close
	load whole
	kick
	settled whole
	sleeper sleep
	echo 0 >$WHOLE/enabled
	kick
	stalled 0
	state 1 $pid
	echo 1 >$WHOLE/enabled
	kick
	settled whole
	is 1 cat $WHOLE/enabled
	is "2 2" cat $PARTS/pair
	# A patch that is in takes neither.
	fails sh -c "echo 1 >$WHOLE/enabled"
	fails sh -c "echo 1 >$WHOLE/force"
	gate open
	wait $pid
	is 2 cat /tmp/sleep
}

# Nobody does anything: after a quarter of a minute the kernel signals tasks, which start over, and wakes
# kernel threads.
signalled() {
	gate close
	sleeper nap
	echo 0 >$WHOLE/enabled
	until_gone $WHOLE
	has "livepatch: signaling remaining tasks" dmesg
	klp_unload whole
	until_in $pid part_nap
	gate open
	wait $pid
	is 1 cat /tmp/nap
	before
}

# Parts that are patched together never mix within a system call, however often a patch comes and goes.
never_mixed() {
	pairs $PARTS/pair >/tmp/pairs &
	pid=$!
	for round in 1 2 3; do
		usleep 200000
		klp_load half
		usleep 200000
		klp_disable half
		klp_unload half
	done
	kill $pid
	wait $pid
	eval "$(cat /tmp/pairs)"
	[ "$ones" -gt 1000 ] && [ "$twos" -gt 1000 ] || wrong "too few: $(cat /tmp/pairs)"
	[ "$mixed" = 0 ] && [ "$failed" = 0 ] || wrong "$(cat /tmp/pairs)"
}

# But of their caller the kernel knows nothing if the patch does not name it, as this one does not: that it
# sleeps between the two is a good place to change sides.
mixed() {
	gate close
	sleeper slow_pair
	klp_load half
	until_in $pid part_pair
	gate open
	wait $pid
	is "1 2" cat /tmp/slow_pair
	klp_disable half
	klp_unload half
}

# A processor that is not there does not keep anyone waiting, and its idle task is on the right side when it is
# back.
offline() {
	cpu=/sys/devices/system/cpu/cpu1/online
	works sh -c "echo 0 >$cpu"
	klp_load half
	is "2 2" cat $PARTS/pair
	works sh -c "echo 1 >$cpu"
	is "2 2" taskset 2 cat $PARTS/pair
	klp_disable half
	klp_unload half
	is "1 1" taskset 2 cat $PARTS/pair
}

# Who forces a patch out while someone sleeps in it never unloads it.
forced() {
	gate close
	load whole
	kick
	settled whole
	sleeper sleep
	echo 0 >$WHOLE/enabled
	kick
	stalled 0
	fails sh -c "echo x >$WHOLE/force"
	echo 0 >$WHOLE/force
	is 1 cat $WHOLE/transition
	echo 1 >$WHOLE/force
	until_gone $WHOLE
	has "livepatch: forcing remaining tasks to the patched state" dmesg
	state -1 $pid self 1
	is "1 1" cat $PARTS/pair
	has "[whole]" cat /proc/$pid/stack
	gate open
	wait $pid
	is 2 cat /tmp/sleep
	# Of other patches the kernel would have given back its reference by now.
	sleep 1
	is 1 cat /sys/module/whole/refcnt
	fails rmmod whole
}

run() {
	for name in before asleep born-changed born-unchanged woken asleep-again reversed reversed-back \
		signalled never-mixed mixed offline forced; do
		step $name "$(echo $name | tr - _)"
	done
	rmmod parts
}
