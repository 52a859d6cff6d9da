# SPDX-License-Identifier: GPL-2.0-only
# What the scripts of these two do not offer.
others() {
	is "Linux$1" uname -s
	is "$2" awk '{ print $NF == "kpatch" }' /proc/cmdline
}

called() { dmesg | grep -c "kpatch callback: $1"; }

all_before() {
	each before
	others "" 0
}

all_loaded() {
	patched=$(called post_patch)
	klp_load main
	each loaded
	others -kpatch 1
	is $((patched + 3)) called post_patch
}

all_disabled() {
	klp_disable main
	each disabled
	others "" 0
}

all_unloaded() {
	klp_unload main
	each unloaded
	others "" 0
}

run() {
	stock loop
	step setup each setup
	step before all_before
	step loaded all_loaded
	step disabled all_disabled
	step unloaded all_unloaded
	rmmod loop
}
