# SPDX-License-Identifier: GPL-2.0-only
# What the scripts of these two do not offer.
others() {
	is "Linux$1" uname -s
	is "$2" awk '{ print $NF == "kpatch" }' /proc/cmdline
}

all="$ALONG syscall callbacks"

all_before() {
	each before
	others "" 0
}

all_loaded() {
	for build in $all; do
		klp_load "$build"
	done
	each loaded
	others -kpatch 1
}

all_unloaded() {
	reversed=
	for build in $all; do
		reversed="$build $reversed"
	done
	for build in $reversed; do
		klp_disable "$build"
		klp_unload "$build"
	done
	each disabled
	each unloaded
	others "" 0
}

run() {
	stock loop
	step setup each setup
	step before all_before
	step loaded all_loaded
	step unloaded all_unloaded
	rmmod loop
}
