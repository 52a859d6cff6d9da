# SPDX-License-Identifier: GPL-2.0-only
setup() { array; }

# array: the module with an array that has no disks.
array() {
	stock md-mod
	echo md0 >/sys/module/md_mod/parameters/new_array
}

gone() {
	echo inactive >/sys/block/md0/md/array_state 2>/dev/null
	works rmmod md_mod
}

shows() {
	is "$1" cat /sys/block/md0/md/metadata_version
	is "$2" cat /sys/block/md0/md/bitmap/metadata
}

before() { shows none internal; }

loaded() { shows "no metadata" inside; }

# The patch is there first: the functions are found in the whole symbol table, not in what is kept.
module_later() {
	gone
	klp_load main
	array
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
}
