# SPDX-License-Identifier: GPL-2.0-only
setup() {
	[ -d /config/nullb ] || { stock null_blk nr_devices=0; mount -t configfs config /config; }
	mkdir /config/nullb/a
}

set_flag() { echo "$1" >/config/nullb/a/memory_backed; }

before() {
	works set_flag n
	fails set_flag +
	is 0 cat /config/nullb/a/memory_backed
	works set_flag y
	is 1 cat /config/nullb/a/memory_backed
}

loaded() {
	works set_flag n
	is 0 cat /config/nullb/a/memory_backed
	works set_flag +
	is 1 cat /config/nullb/a/memory_backed
	fails set_flag /
}
