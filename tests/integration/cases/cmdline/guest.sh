# SPDX-License-Identifier: GPL-2.0-only
before() {
	has console=ttyS0 cat /proc/cmdline
	lacks kpatch=1 cat /proc/cmdline
}

loaded() {
	is "$(cat /tmp/cmdline) kpatch=1" cat /proc/cmdline
}

setup() { cat /proc/cmdline >/tmp/cmdline; }
