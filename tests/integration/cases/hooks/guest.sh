# SPDX-License-Identifier: GPL-2.0-only
PARTS=/proc/parts
HOOKS=/sys/kernel/livepatch/hooks
SERVICE=/proc/kpatch_service

setup() { works insmod "/guest/$CASE/parts.ko"; }

gate() { echo "$1" >$PARTS/do; }

# sleeper: a task that keeps a transition from its end until the gate opens.
sleeper() {
	cat $PARTS/sleep >/tmp/sleep 2>&1 &
	pid=$!
	until_in $pid "$1"
}

# wake ANSWER
wake() {
	gate open
	wait $pid
	is "$1" cat /tmp/sleep
	gate close
}

# looks LIMIT SERVICE
looks() {
	is "$1" cat $PARTS/limit
	case $2 in
	on) is "at your service" cat $SERVICE ;;
	off) [ ! -e $SERVICE ] || wrong "$SERVICE is there" ;;
	esac
}

before() { looks 10 off; }

# What there was is changed before any task runs a new function. The service waits for the last one.
not_yet() {
	sleeper part_sleep
	works insmod "/guest/$CASE/hooks.ko"
	sleep 2
	is 1 cat $HOOKS/transition
	looks 20 off
}

# And if the last one never comes, nothing was offered, and what was changed is as it was.
reversed() {
	echo 0 >$HOOKS/enabled
	until_gone $HOOKS
	looks 10 off
	klp_unload hooks
	looks 10 off
	wake 1
}

in_() {
	klp_load hooks
	looks 20 on
}

# The service goes first, while tasks still run new functions and need what was changed.
not_any_more() {
	sleeper sleep
	echo 0 >$HOOKS/enabled
	looks 20 off
	sleep 2
	is 1 cat $HOOKS/transition
	looks 20 off
	wake 2
}

out() {
	until_gone $HOOKS
	looks 10 off
	klp_unload hooks
}

# A module that comes while the patch is in is set up by the new function; one that goes takes its settings along.
module_later() {
	works rmmod parts
	klp_load hooks
	[ -e $SERVICE ] || wrong "$SERVICE is not there"
	works insmod "/guest/$CASE/parts.ko"
	looks 20 on
	works rmmod parts
	works insmod "/guest/$CASE/parts.ko"
	looks 20 on
	klp_disable hooks
	looks 10 off
	klp_unload hooks
}

# Someone chose a limit: the patch keeps out, and keeps its hands off.
refused() {
	gate limit
	is 99 cat $PARTS/limit
	has "Device or resource busy" insmod "/guest/$CASE/hooks.ko"
	looks 99 off
	lacks hooks cat /proc/modules
	is "" ls /sys/kernel/livepatch
	is 0 cat /sys/module/parts/refcnt
	has "livepatch: pre-patch callback failed for object 'parts'" dmesg
}

run() {
	step before before
	step not-yet not_yet
	step reversed reversed
	step in in_
	step not-any-more not_any_more
	step out out
	step module-later module_later
	step refused refused
	rmmod parts
}
