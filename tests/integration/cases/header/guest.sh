# SPDX-License-Identifier: GPL-2.0-only
# If a user of the inline function were missed, its mounts would still show `=`.
setup() {
	stock overlay
	mkdir -p /tmp/header/one /tmp/header/two /tmp/header/merged /tmp/header/groups
}

shows() {
	works mount -t overlay over -o lowerdir=/tmp/header/one:/tmp/header/two /tmp/header/merged
	has "$1" grep /tmp/header/merged /proc/mounts
	lacks "$2" grep /tmp/header/merged /proc/mounts
	works umount /tmp/header/merged
}

# The kernel proper: a hierarchy of control groups with a name.
named() {
	works mount -t cgroup -o none,name=kpatch groups /tmp/header/groups
	has "$1" grep /tmp/header/groups /proc/mounts
	lacks "$2" grep /tmp/header/groups /proc/mounts
	works umount /tmp/header/groups
}

before() {
	shows "lowerdir=/tmp/header/one" "=>"
	named "name=kpatch" "=>"
}

loaded() {
	shows "lowerdir=>/tmp/header/one" "lowerdir=/"
	named "name=>kpatch" "name=k"
}

module_later() {
	works rmmod overlay
	klp_load main
	stock overlay
	loaded
}

unloaded_again() {
	klp_disable main
	before
	klp_unload main
	before
}

run() {
	step before before
	step loaded step_loaded
	step disabled step_disabled
	step unloaded step_unloaded
	step module-later module_later
	step unloaded-again unloaded_again
	rmmod overlay
}
