# SPDX-License-Identifier: GPL-2.0-only
# What the patches leave of a read of /proc/loadavg: words, not figures.
words() { tr -c 'a-z' ' ' </proc/loadavg | xargs; }
soft() { head -n 1 /proc/softirqs | awk '{ print ($1 == "two") ? "patched" : "plain" }'; }

state() {
	is "$1" words
	is "$2" soft
}

before() { state "" plain; }

first() {
	klp_load first
	state one plain
}

# Each of the two was built against the unpatched source: the upper one's function is what runs.
second() {
	klp_load second
	state two patched
	is 1 cat "/sys/kernel/livepatch/$(name_of first)/enabled"
}

# The lower one shows again when the upper one goes.
second_off() {
	klp_disable second
	state one plain
	klp_unload second
}

second_on() {
	klp_load second
	state two patched
}

replaced() {
	klp_load both
	until_gone "/sys/kernel/livepatch/$(name_of first)"
	until_gone "/sys/kernel/livepatch/$(name_of second)"
	state "one two" patched
	klp_unload first
	klp_unload second
	state "one two" patched
}

disabled() {
	klp_disable both
	before
}

unloaded() {
	klp_unload both
	before
}

run() {
	step before before
	step first first
	step second second
	step second-off second_off
	step second-on second_on
	step replaced replaced
	step disabled disabled
	step unloaded unloaded
}
