# SPDX-License-Identifier: GPL-2.0-only
seen() { dmesg | grep -c 'kpatch: [0-9]* to ttyS0'; }

# An empty line on the console is one write.
written() {
	count=$(seen)
	works sh -c 'echo >/dev/ttyS0'
	is $((count + $1)) seen
}

before() { written 0; }
loaded() { written 1; }
