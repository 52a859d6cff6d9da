# SPDX-License-Identifier: GPL-2.0-only
setup() {
	mkdir -p /tmp/new/one /tmp/new/two /tmp/new/merged
}

# shown YES-OR-NO: what a mount of a module that comes for it and goes says of its options.
shown() {
	stock overlay
	works mount -t overlay new -o lowerdir=/tmp/new/one:/tmp/new/two /tmp/new/merged
	has lowerdir=/tmp/new/one:/tmp/new/two grep /tmp/new/merged /proc/mounts
	$1 ,overlay:overlay:overlay:count_shown= grep /tmp/new/merged /proc/mounts
	works umount /tmp/new/merged
	works rmmod overlay
}

before() {
	shown lacks
}

loaded() {
	shown has
}
