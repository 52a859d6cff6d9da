# SPDX-License-Identifier: GPL-2.0-only
before() {
	has "Linux version" cat /proc/version
	lacks before cat /proc/version
}

loaded() {
	has "kpatch_notes of proc: 41, nothing before, 1" cat /proc/version
	has "kpatch_notes of proc: 42, version before, 1" cat /proc/version
	is 2 awk 'END { print NR }' /proc/version
}
