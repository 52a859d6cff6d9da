# SPDX-License-Identifier: GPL-2.0-only
before() {
	has MemTotal: cat /proc/meminfo
	lacks Reads: cat /proc/meminfo
}

# The file is read in one go: its content is less than a page.
reads() { dd if=/proc/meminfo bs=4096 count=1 2>/dev/null | awk '/^Reads:/ { print $2 }'; }

loaded() {
	is 1 reads
	is 2 reads
	is 3 reads
	has MemTotal: cat /proc/meminfo
}
