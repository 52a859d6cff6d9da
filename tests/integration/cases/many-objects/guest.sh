# SPDX-License-Identifier: GPL-2.0-only
# One counter for all three: were there a copy of the new function in each module, they would count apart.
# The second module comes after the patch.
setup() {
	stock loop
	mkdir -p /tmp/objects/one /tmp/objects/two /tmp/objects/merged
	dd if=/dev/zero of=/tmp/objects/disk bs=4096 count=64 2>/dev/null
}

attached() {
	works losetup /dev/loop2 /tmp/objects/disk
	is "$1" cat /sys/block/loop2/loop/sizelimit
	works losetup -d /dev/loop2
}

mounted() {
	stock overlay
	works mount -t overlay over -o lowerdir=/tmp/objects/one:/tmp/objects/two /tmp/objects/merged
	has "$1" grep /tmp/objects/merged /proc/mounts
	works umount /tmp/objects/merged
}

before() {
	has "Linux version" cat /proc/version
	lacks call cat /proc/version
	attached 0
	mounted lowerdir=/tmp/objects/one
	rmmod overlay
}

loaded() {
	has "call 1 Linux version" cat /proc/version
	attached "call 2 0"
	mounted layers=/tmp/objects/one
	rmmod overlay
	# Whoever read the list of mounts counted, too.
	lacks "call 1 " cat /proc/version
	lacks "call 2 " cat /proc/version
	lacks "call 3 " cat /proc/version
}
