# SPDX-License-Identifier: GPL-2.0-only
setup() {
	stock loop
	echo "$CASE" >/tmp/backing
}

# The module loop asks the kernel's file_path() for what it shows here.
shows() {
	works losetup /dev/loop1 /tmp/backing
	is "$1" cat /sys/block/loop1/loop/backing_file
	works losetup -d /dev/loop1
}

before() { shows /tmp/backing; }
loaded() { shows tmp/backing; }
