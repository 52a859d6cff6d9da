# SPDX-License-Identifier: GPL-2.0-only
before() {
	has "Linux version" cat /proc/version
	lacks patched cat /proc/version
	lacks patched cat /proc/loadavg
}

loaded() {
	has "patched version of Linux" cat /proc/version
	has "Linux version" cat /proc/version
	has "patched loadavg of Linux" cat /proc/loadavg
	is 2 awk 'END { print NR }' /proc/loadavg
}
